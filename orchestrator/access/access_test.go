package access_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"github.com/golive-dev/golive/orchestrator/access"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func shop() rollout.Release {
	return rollout.Release{App: "shop", Version: "1.4.0", Setup: true, Approvals: rollout.Policy{By: []string{"ann", "bob"}}, Services: []rollout.Service{
		{Name: "stock", Version: "0.9.0", State: &rollout.Data{KV: []string{"goods"}, Objects: []string{"pictures"}, Streams: []string{"ORDERS"}}},
		{Name: "search", Version: "2.0.0-rc.1", Migrations: []protocol.Phase{protocol.Offline}},
	}}
}

func TestUsersOfARelease(t *testing.T) {
	users, err := access.Users(shop(), access.Team{People: []string{"eve", "ann"}, Deployers: []string{"ci"}, Observers: []string{"obs"}, Agents: []string{"web-1"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
		for _, subject := range slices.Concat(u.Rights.Publish, u.Rights.Subscribe) {
			if subject == ">" || subject == "golive.>" || strings.HasPrefix(subject, "$JS.API.STREAM.CREATE") || strings.HasPrefix(subject, "$JS.API.STREAM.UPDATE") {
				t.Errorf("%s may %s", u.Name, subject)
			}
		}
	}
	if got := strings.Join(names, " "); got != "orchestrator stock search search-setup shop-setup agent-web-1 eve ann bob ci obs" {
		t.Error(got)
	}
	for user, subject := range map[string]string{"search-setup": "deployment-search-3.>", "shop-setup": "shop-1.>", "stock": "$KV.goods.>", "ann": "golive.api.*.ann"} {
		i := slices.Index(names, user)
		if !slices.Contains(users[i].Rights.Publish, subject) {
			t.Errorf("%s may not publish %s", user, subject)
		}
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		team access.Team
		want string
	}{
		"two of one name":  {access.Team{People: []string{"ci"}, Deployers: []string{"ci"}}, "the user ci would be both person and deployment system"},
		"one of a service": {access.Team{Observers: []string{"stock"}}, "the user stock would be both service stock and observer"},
		"a path":           {access.Team{People: []string{"../ann"}}, `"../ann" is no name of a user`},
		"nothing":          {access.Team{People: []string{""}}, `"" is no name of a user`},
		"a long one":       {access.Team{People: []string{strings.Repeat("a", 101)}}, "is no name of a user"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := access.Users(shop(), c.team); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if _, err := access.Users(shop(), access.Team{People: []string{strings.Repeat("a", 100)}}); err != nil {
		t.Error(err)
	}
}

// A server reads the configuration as it is meant, whatever is in the text.
func TestAServerReadsTheConfiguration(t *testing.T) {
	users, err := access.Users(shop(), access.Team{})
	if err != nil {
		t.Fatal(err)
	}
	storage := filepath.Join(t.TempDir(), `a "folder" $HOME \`)
	text, err := access.Config{Listen: "127.0.0.1:4222", Storage: storage}.Server(users, func(user string) string { return "secret of " + user })
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") {
		t.Error("a password stands in the configuration")
	}
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if o.StoreDir != storage || !o.SyncAlways || len(o.Users) != len(users) {
		t.Errorf("storage %q, synced %t, %d users", o.StoreDir, o.SyncAlways, len(o.Users))
	}
	for i, u := range users {
		there := o.Users[i]
		if there.Username != u.Name || bcrypt.CompareHashAndPassword([]byte(there.Password), []byte("secret of "+u.Name)) != nil {
			t.Errorf("%s is %s", u.Name, there.Username)
		}
		if u.Role == access.Orchestrator {
			continue
		}
		if !slices.Equal(there.Permissions.Publish.Allow, u.Rights.Publish) || !slices.Equal(there.Permissions.Subscribe.Allow, u.Rights.Subscribe) || there.Permissions.Response != nil {
			t.Errorf("%s may %+v", u.Name, there.Permissions)
		}
	}
}

func TestCredentials(t *testing.T) {
	var got map[string]string
	if err := json.Unmarshal(access.For(access.User{Name: "ann", Role: access.Person}, "tls://bus:4222", "ca.pem", "secret").JSON(), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"url": "tls://bus:4222", "user": "ann", "password": "secret", "ca": "ca.pem", "inbox_prefix": "_INBOX.ann"} {
		if got[key] != want {
			t.Errorf("%s is %q", key, got[key])
		}
	}
	if a, b := access.NewPassword(), access.NewPassword(); a == b || len(a) < 26 {
		t.Error("passwords are", a, b)
	}
}
