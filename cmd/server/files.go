package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
)

// loadConfig reads the server file. The error lists every complaint.
func loadConfig(path string, env environment) (*config.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read server file: %w", err)
	}
	cfg, complaints := config.Load(path, data, connectionKinds(), env.LookupEnv, os.ReadFile)
	if len(complaints) > 0 {
		return nil, complaints
	}
	return cfg, nil
}

// loadRules reads a rules file, or every .yaml and .yml file of a folder. The
// error lists every complaint.
func loadRules(path string) (*rules.Policy, error) {
	sources, err := ruleSources(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	policy, complaints := rules.Load(sources...)
	if len(complaints) > 0 {
		return nil, complaints
	}
	return policy, nil
}

func ruleSources(path string) ([]rules.Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = yamlFiles(path); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("folder %q has no .yaml file", path)
		}
	}
	var sources []rules.Source
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		sources = append(sources, rules.Source{Name: file, Data: data})
	}
	return sources, nil
}

// yamlFiles lists a folder's own YAML files by name; hidden ones, such as what a
// mounted ConfigMap keeps beside its files, are not among them.
func yamlFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if strings.HasPrefix(entry.Name(), ".") || (extension != ".yaml" && extension != ".yml") {
			continue
		}
		file := filepath.Join(folder, entry.Name())
		if info, err := os.Stat(file); err != nil {
			return nil, err
		} else if info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files, nil
}

// load reads the server file and its rules, and complains about both at once.
func load(path string, env environment) (*config.Config, *rules.Policy, error) {
	cfg, cfgErr := loadConfig(path, env)
	rulesPath := ""
	if cfg != nil {
		rulesPath = cfg.Rules
	} else if data, err := os.ReadFile(path); err == nil {
		rulesPath = config.RulesPath(path, data)
	}
	if rulesPath == "" {
		return nil, nil, cfgErr
	}
	policy, err := loadRules(rulesPath)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: write the rules there, or say in %s where they are (rules: PATH)", err, path)
	}
	if cfg != nil && policy != nil {
		var names []string
		for _, c := range cfg.Connections {
			names = append(names, c.Name)
		}
		err = policy.CheckConnections(names).Err()
	}
	return cfg, policy, errors.Join(cfgErr, err)
}

// readFile reads a file, or standard input when the path is "-", up to limit
// bytes.
func readFile(path string, stdin io.Reader, limit int64) ([]byte, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %q: longer than %d bytes", path, limit)
	}
	return data, nil
}
