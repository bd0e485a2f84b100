package config_test

import (
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
)

func TestGroups(t *testing.T) {
	groups := config.Groups{"leads": {"github": {11, 12}, "gitlab": {13}}, "all": {"github": {12}}, "none": nil}
	for _, test := range []struct {
		group, connection, id string
		in                    bool
	}{
		{"leads", "github", "11", true}, {"leads", "gitlab", "13", true},
		{"leads", "gitlab", "11", false}, {"leads", "gitee", "11", false}, {"none", "github", "11", false}, {"others", "github", "11", false},
		{"leads", "github", "", false}, {"leads", "github", "mona", false}, {"leads", "github", "0x0b", false},
	} {
		if in := groups.In(test.group, test.connection, test.id); in != test.in {
			t.Errorf("%+v: %t", test, in)
		}
	}
	if of := groups.Of("github", "12"); !slices.Equal(of, []string{"all", "leads"}) {
		t.Errorf("account 12 is in %q", of)
	}
	if of := config.Groups(nil).Of("github", "12"); of != nil {
		t.Errorf("without groups it is in %q", of)
	}
}
