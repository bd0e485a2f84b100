package app

import (
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/store"
)

// NewOrders is newOrders for the tests, of a service that knows no people.
func NewOrders(s *store.Store, log *zap.Logger) (access.Orders, error) {
	return newOrders(s, nil, nil, log)
}
