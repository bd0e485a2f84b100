package app

import (
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// NewOrders is newOrders for the tests, of a service with no groups and no rules.
func NewOrders(s *store.Store, log *zap.Logger) (access.Orders, error) {
	return newOrders(s, People(&config.Config{}), func() *rules.Policy { return &rules.Policy{} }, log)
}
