package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Size is a number of bytes, written as 512KiB, 25MiB, 1GiB or a plain number.
type Size int64

// The units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// units are tried in this order, the largest first.
func units() []struct {
	name string
	size Size
} {
	return []struct {
		name string
		size Size
	}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}, {"", 1}}
}

// ParseSize reads a size. The decimal units (MB and its like) are refused, because
// people differ about what they mean.
func ParseSize(text string) (Size, error) {
	for _, unit := range units() {
		digits, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(unit.size) {
			break
		}
		return Size(n) * unit.size, nil
	}
	return 0, fmt.Errorf("%q is not a size", text)
}

// String returns the size in the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range units() {
		if s != 0 && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return "0"
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAMLNode reads a size that is written as text or as a plain number.
func (s *Size) UnmarshalYAMLNode(node strictyaml.Node) error {
	size, err := ParseSize(node.Scalar())
	if err != nil {
		return node.Complain(err.Error(), "write a number with B, KiB, MiB or GiB, such as 25MiB")
	}
	*s = size
	return nil
}
