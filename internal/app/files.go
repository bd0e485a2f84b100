package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// LookupEnv finds an environment variable, as os.LookupEnv does.
type LookupEnv = func(name string) (value string, ok bool)

// inputs are what a configuration was read from. The zero value is ready to use.
type inputs struct {
	// files are the paths that were read, or should have been; rules is the path of
	// the rules, a file or a folder.
	files []string
	rules string
	// variables are the environment variables that were looked up.
	variables []string
}

// readFile reads a file and notes its path.
func (in *inputs) readFile(path string) ([]byte, error) {
	in.files = append(in.files, path)
	return os.ReadFile(path)
}

// noting returns a lookup that notes the names.
func (in *inputs) noting(lookup LookupEnv) LookupEnv {
	return func(name string) (string, bool) {
		in.variables = append(in.variables, name)
		return lookup(name)
	}
}

// LoadConfig reads the server file. The error lists every complaint.
func LoadConfig(path string, lookup LookupEnv) (*config.Config, error) {
	return loadConfig(path, lookup, &inputs{})
}

func loadConfig(path string, lookup LookupEnv, in *inputs) (*config.Config, error) {
	data, err := in.readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read server file: %w", err)
	}
	cfg, complaints := config.Load(path, data, connectionKinds(), in.noting(lookup), in.readFile)
	if len(complaints) > 0 {
		return nil, complaints
	}
	return cfg, nil
}

// LoadConfigFor reads the server file for a command that needs only some secrets. The
// error lists every complaint.
func LoadConfigFor(needs config.Needs, path string, lookup LookupEnv) (*config.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read server file: %w", err)
	}
	cfg, complaints := config.LoadFor(needs, path, data, connectionKinds(), lookup, os.ReadFile)
	return cfg, complaints.Err()
}

// LogSettings returns what the server file says about the log, also where the file is
// wrong or missing, so that this can be logged.
func LogSettings(path string) config.Log {
	data, err := os.ReadFile(path)
	if err != nil {
		data = nil
	}
	return config.LogSettings(path, data)
}

// LoadRules reads a rules file, or every .yaml and .yml file of a folder. pipelines are the
// ids of the pipelines that the server file names, by their names; nil without a server
// file. The error lists every complaint.
func LoadRules(path string, pipelines map[string]string) (*rules.Policy, error) {
	sources, err := ruleSources(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	policy, complaints := rules.LoadWith(pipelines, sources...)
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

// yamlFiles lists a folder's own YAML files by name; hidden ones are left
// out, such as those that a mounted ConfigMap contains.
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

// Load reads the server file and its rules. The error lists the complaints about both.
func Load(path string, lookup LookupEnv) (*config.Config, *rules.Policy, error) {
	return load(path, lookup, &inputs{})
}

func load(path string, lookup LookupEnv, in *inputs) (*config.Config, *rules.Policy, error) {
	cfg, cfgErr := loadConfig(path, lookup, in)
	rulesPath := ""
	var pipelines map[string]string
	if cfg != nil {
		rulesPath, pipelines = cfg.Rules, cfg.Pipelines()
	} else if data, err := os.ReadFile(path); err == nil {
		rulesPath = config.RulesPath(path, data)
	}
	if rulesPath == "" {
		return nil, nil, cfgErr
	}
	in.rules = rulesPath
	policy, err := LoadRules(rulesPath, pipelines)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: write the rules there, or say in %s where they are (rules: PATH)", err, path)
	}
	if cfg != nil && policy != nil {
		complaints := policy.CheckFor(rulesServer(cfg))
		for _, name := range cfg.AccountNames() {
			complaints = append(complaints, checkReleases(cfg, policy, name)...)
		}
		err = complaints.Err()
	}
	return cfg, policy, errors.Join(cfgErr, err)
}

// checkReleases complains of what an account lacks for the releases of the rules.
func checkReleases(cfg *config.Config, policy *rules.Policy, name string) (complaints strictyaml.Complaints) {
	account, _ := cfg.Account(name)
	path := config.AccountPath(name)
	if policy.ReleasesBy(name, rules.TargetServiceStage) && account.ProjectID == "" && !account.Auth.UsesIAM() {
		complaints = append(complaints, cfg.Complain(path+".auth",
			"the rules have releases by ServiceStage, and such a release needs the id of the region's IAM project, which neither an access key nor a token of a file tells",
			"write "+path+".project_id, the 32 hex digits that the console shows under My Credentials beside the region"))
	}
	if policy.ReleasesBy(name, rules.TargetCodeArtsPipeline) && account.Endpoints.Pipeline == "" {
		complaints = append(complaints, cfg.Complain(path+".endpoints",
			"the rules have releases by CodeArts Pipeline, and neither its endpoint nor a region is given",
			"write "+path+".region, such as cn-north-4, or "+path+".endpoints.pipeline"))
	}
	return complaints
}
