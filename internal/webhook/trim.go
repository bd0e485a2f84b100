package webhook

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	// maxElements is how many elements of each list of a payload are read, and how many
	// members an object may have. GitHub announces up to 2048 commits of a push, which
	// nothing here asks for.
	maxElements = 1000
	// maxValues is how many values a payload may have after that.
	maxValues = 1_000_000
)

// object returns a payload as it is decoded: with each list cut after maxElements, so
// that a payload takes memory by its size and not by what is in it ("[{},{},…" takes a
// hundred times as much as a struct for each element). It refuses a payload that is not
// an object, such as null, and one that has more members or values than any host sends.
func object(payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) {
		return nil, errors.New("the payload is not a JSON object")
	}
	type container struct {
		list   bool
		commas int
	}
	var out []byte
	var open []container
	copied, values := 0, 0
	for i := 0; i < len(payload); i++ {
		switch payload[i] {
		case '"':
			i = stringEnd(payload, i)
		case '[', '{':
			open = append(open, container{list: payload[i] == '['})
			values++
		case ']', '}':
			open = open[:max(len(open)-1, 0)]
		case ',':
			values++
			if len(open) == 0 {
				break // No JSON, which the decoder says better.
			}
			top := &open[len(open)-1]
			if top.commas++; top.commas < maxElements {
				break
			}
			if !top.list {
				return nil, fmt.Errorf("an object of the payload has more than %d members", maxElements)
			}
			out = append(out, payload[copied:i]...)
			copied = listEnd(payload, i)
			i = copied - 1
		}
		if values > maxValues {
			return nil, fmt.Errorf("the payload has more than %d values", maxValues)
		}
	}
	if copied == 0 {
		return payload, nil
	}
	return append(out, payload[copied:]...), nil
}

// stringEnd is where the text that begins at i ends: at its second quotation mark.
func stringEnd(payload []byte, i int) int {
	for i++; i < len(payload) && payload[i] != '"'; i++ {
		if payload[i] == '\\' {
			i++
		}
	}
	return i
}

// listEnd is where the list that i is in ends: at its bracket.
func listEnd(payload []byte, i int) int {
	for depth := 0; i < len(payload); i++ {
		switch payload[i] {
		case '"':
			i = stringEnd(payload, i)
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return len(payload)
}
