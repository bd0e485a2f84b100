package config

import (
	"bytes"
	"cmp"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Reloaded returns what is in force when a server that runs with c reads its file
// again as next: c with the secrets of next, its path of the rules, its people and groups, its public address and its names of
// pipelines. The secrets of
// a connection are those of the connection of the same name, with their max_age, whose
// default depends on them. restart names the other settings that differ, by their path
// in the file: they take effect with a restart. Neither c nor next is changed.
func (c *Config) Reloaded(next *Config) (inForce *Config, restart []string, err error) {
	merged := *c
	merged.Rules, merged.People, merged.Groups, merged.HTTP.PublicURL = next.Rules, next.People, next.Groups, next.HTTP.PublicURL
	merged.Connections = slices.Clone(c.Connections)
	for i := range merged.Connections {
		old := &merged.Connections[i]
		if renewed, found := next.Connection(old.Name); found && renewed.Kind == old.Kind {
			if !old.CallsHost() {
				old.APIURL = renewed.APIURL // its default is filled in beside a token or an App
			}
			old.Secrets, old.SigningTokens, old.MaxAge, old.Token = renewed.Secrets, renewed.SigningTokens, renewed.MaxAge, renewed.Token
			old.App, old.Clone = renewed.App, renewed.Clone
		}
	}
	merged.HuaweiCloud = c.HuaweiCloud.reloaded(next.HuaweiCloud)
	merged.Accounts = maps.Clone(c.Accounts)
	for name, account := range merged.Accounts {
		if renewed, found := next.Accounts[name]; found {
			account := account.reloaded(*renewed)
			merged.Accounts[name] = &account
		}
	}
	restart, err = merged.differences(next)
	return &merged, restart, err
}

// reloaded is h with the secrets of next and its names of pipelines.
func (h HuaweiCloud) reloaded(next HuaweiCloud) HuaweiCloud {
	h.Pipelines, h.Auth = next.Pipelines, h.Auth.reloaded(next.Auth)
	return h
}

// reloaded is a with the secrets of next, where both are of the same kind.
func (a Auth) reloaded(next Auth) Auth {
	a.Password, a.AccessKey = a.Password.reloaded(next.Password), a.AccessKey.reloaded(next.AccessKey)
	if a.Agency != nil && next.Agency != nil {
		agency := *a.Agency
		agency.Password, agency.AccessKey = agency.Password.reloaded(next.Agency.Password), agency.AccessKey.reloaded(next.Agency.AccessKey)
		a.Agency = &agency
	}
	if a.Token.Set() && next.Token.Set() {
		a.Token = next.Token
	}
	return a
}

func (p *PasswordAuth) reloaded(next *PasswordAuth) *PasswordAuth {
	if p == nil || next == nil {
		return p
	}
	renewed := *p
	renewed.Password = next.Password
	return &renewed
}

func (key *AccessKeyAuth) reloaded(next *AccessKeyAuth) *AccessKeyAuth {
	if key == nil || next == nil {
		return key
	}
	renewed := *key
	renewed.ID, renewed.Secret, renewed.SecurityToken = next.ID, next.Secret, next.SecurityToken
	return &renewed
}

// differences names the settings of next that differ from c.
func (c *Config) differences(next *Config) ([]string, error) {
	before, err := c.tree()
	if err != nil {
		return nil, err
	}
	after, err := next.tree()
	if err != nil {
		return nil, err
	}
	paths := differing("", before, after)
	// What the tree does not show.
	if p, n := c.Store.Postgres, next.Store.Postgres; p != nil && n != nil && p.DSN.Value() != n.DSN.Value() {
		paths = append(paths, "store.postgres.dsn")
	}
	for _, name := range c.AccountNames() {
		before, _ := c.Account(name)
		if after, found := next.Account(name); found && before.CAFile == after.CAFile && !bytes.Equal(before.ca, after.ca) {
			paths = append(paths, AccountPath(name)+".ca_file")
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// tree is the effective file as JSON decodes it.
func (c *Config) tree() (any, error) {
	data, err := c.JSON()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	return tree, nil
}

// differing returns the paths at which two trees differ. Lists of different lengths
// differ as a whole.
func differing(path string, a, b any) []string {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	var paths []string
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok {
			return []string{path}
		}
		keys := maps.Clone(a)
		maps.Copy(keys, other)
		for key := range keys {
			below := key
			if path != "" {
				below = path + "." + key
			}
			paths = append(paths, differing(below, a[key], other[key])...)
		}
		return paths
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return []string{path}
		}
		for i := range a {
			paths = append(paths, differing(fmt.Sprintf("%s[%d]", path, i), a[i], other[i])...)
		}
		return paths
	}
	return []string{path}
}

// hashRounds makes one hash take milliseconds.
const hashRounds = 20_000

// Hash returns twelve hex digits that differ when the settings, the rules (by their
// hash) or the values of the secrets do, except tokens that come from files, which change all
// the time and in each replica by itself. It is published, so it is slow to compute:
// who knows all but a weak secret does not find that by trying many.
func (c *Config) Hash(rules string) (string, error) {
	settings, err := c.JSON()
	if err != nil {
		return "", err
	}
	var values []string
	hashed, authorities := *c, slices.Clone(c.HuaweiCloud.ca)
	hashed.HuaweiCloud.Auth.Token = Secret{}
	hashed.Accounts = Accounts{}
	for _, name := range slices.Sorted(maps.Keys(c.Accounts)) {
		account := *c.Accounts[name]
		account.Auth.Token = Secret{}
		hashed.Accounts[name], authorities = &account, append(authorities, account.ca...)
	}
	for _, secret := range secretsIn(reflect.ValueOf(hashed)) {
		values = append(values, secret.Value())
	}
	secrets, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("hash secrets: %w", err)
	}
	key, err := pbkdf2.Key(sha256.New, string(secrets), slices.Concat(settings, []byte("\n"+rules), authorities), hashRounds, 6)
	if err != nil {
		return "", fmt.Errorf("hash settings: %w", err)
	}
	return hex.EncodeToString(key), nil
}

// SecretFiles returns the paths of the files that hold secrets.
func (c *Config) SecretFiles() []string {
	var paths []string
	for _, secret := range secretsIn(reflect.ValueOf(*c)) {
		if secret.path != "" && !slices.Contains(paths, secret.path) {
			paths = append(paths, secret.path)
		}
	}
	return paths
}

// secretsIn returns all secrets in v, in the order of the fields.
func secretsIn(v reflect.Value) []Secret {
	if secret, ok := v.Interface().(Secret); ok {
		return []Secret{secret}
	}
	var secrets []Secret
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return secretsIn(v.Elem())
		}
	case reflect.Map:
		for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) }) {
			secrets = append(secrets, secretsIn(v.MapIndex(key))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			secrets = append(secrets, secretsIn(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				secrets = append(secrets, secretsIn(v.Field(i))...)
			}
		}
	}
	return secrets
}
