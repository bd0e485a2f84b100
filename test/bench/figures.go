package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// aims are the values that we want, by the pattern of the figure's name.
func aims() [][2]string {
	return [][2]string{
		{"accept_ratio_*_64", ">= 0.33"},
		{"accept_ratio_*_256", ">= 0.45"},
		{"accept_p99_ms_at_200_*", "<= 20"},
		{"sustained_per_second_*", ">= 500"},
		{"push_to_run_ms_p50_*", "<= 100"},
		{"push_to_run_ms_p99_*", "<= 250"},
		{"push_to_status_ms_p99_*", "<= 1000"},
		{"notice_seconds_usual", "<= 3"},
		{"notice_seconds", "<= 15"},
		{"notice_seconds_at_20", "<= 50"},
		{"decision_us_*", "<= 20"},
		{"rules_load_ms_10000", "<= 200"},
		{"rules_load_ms_100000", "<= 2000"},
		{"list_ms_1m_*", "<= 50"},
		{"overview_ms_1m_*", "<= 50"},
		{"idle_memory_*", "<= 40"},
		{"binary_size", "<= 32"},
	}
}

// figure is one line of the output, and one entry of the file.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Aim is a comparison such as "<= 20"; empty where there is none.
	Aim string `json:"aim,omitempty"`
}

// String is the line: name, value, unit, and the aim as a comment.
func (f figure) String() string {
	decimals := 3
	switch {
	case f.Value >= 100:
		decimals = 0
	case f.Value >= 10:
		decimals = 1
	}
	line := fmt.Sprintf("%s %.*f %s", f.Name, decimals, f.Value, f.Unit)
	if f.Aim != "" {
		line += " # aim " + f.Aim
	}
	return line
}

// figures collects what was measured, each figure several times.
type figures struct {
	order  []string
	values map[string][]float64
	units  map[string]string
}

// add notes one measurement of a figure.
func (m *figures) add(name string, value float64, unit string) {
	if _, known := m.values[name]; !known {
		m.order = append(m.order, name)
	}
	m.values[name], m.units[name] = append(m.values[name], value), unit
}

func (m *figures) addTime(name string, value time.Duration) {
	m.add(name, float64(value.Microseconds())/1000, "ms")
}

// figure is the median of what was noted under a name.
func (m *figures) figure(name string) figure {
	sorted := slices.SortedFunc(slices.Values(m.values[name]), cmp.Compare[float64])
	f := figure{Name: name, Value: sorted[len(sorted)/2], Unit: m.units[name]}
	for _, aim := range aims() {
		// The patterns are constants and well formed.
		if matched, _ := path.Match(aim[0], name); matched {
			f.Aim = aim[1]
		}
	}
	return f
}

// write writes the figures as JSON.
func (m *figures) write(file string) error {
	list := make([]figure, 0, len(m.order))
	for _, name := range m.order {
		list = append(list, m.figure(name))
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
