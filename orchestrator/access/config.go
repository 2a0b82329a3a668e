package access

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Config is the configuration of one NATS server.
type Config struct {
	Listen  string // host and port
	Storage string // folder of JetStream, as the server sees it
	Cert    string // file of the server's certificate, as the server sees it; empty: no TLS
	Key     string // file of its key
}

// NewPassword makes one of 128 random bits.
func NewPassword() string { return rand.Text() }

// passwordCost is the least that there is: a password of 128 random bits is not guessed, however
// fast one can try, and each connection pays for it.
const passwordCost = bcrypt.MinCost

// Server writes the configuration for users and their passwords, which it holds as hashes.
func (c Config) Server(users []User, password func(user string) string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# nats-server %s or newer. Written by golive bus config: run that again in place of changing it.\n", relay.MinServer)
	fmt.Fprintf(&b, "listen: %s\n", quote(c.Listen))
	fmt.Fprintf(&b, "jetstream { store_dir: %s, sync_interval: always }\n", quote(c.Storage))
	if c.Cert != "" {
		fmt.Fprintf(&b, "tls { cert_file: %s, key_file: %s }\n", quote(c.Cert), quote(c.Key))
	}
	b.WriteString("\n# No user has allow_responses: with it one may publish wherever a message can be had from.\nauthorization { users: [\n")
	for _, u := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password(u.Name)), passwordCost)
		if err != nil {
			return nil, fmt.Errorf("password of %s: %w", u.Name, err)
		}
		fmt.Fprintf(&b, "  # %s\n  { user: %s, password: %s", u.what(), quote(u.Name), quote(string(hash)))
		if u.Role != Orchestrator {
			b.WriteString(", permissions: {\n")
			list(&b, "publish", u.Rights.Publish)
			list(&b, "subscribe", u.Rights.Subscribe)
			b.WriteString("  }")
		}
		b.WriteString(" }\n")
	}
	b.WriteString("] }\n")
	return b.Bytes(), nil
}

// list writes subjects, as many in a line as fit.
func list(b *bytes.Buffer, name string, subjects []string) {
	fmt.Fprintf(b, "    %s: [", name)
	width := 101
	for i, subject := range subjects {
		text := " " + quote(subject)
		if i+1 < len(subjects) {
			text += ","
		}
		if width += len(text); width > 100 {
			b.WriteString("\n     ")
			width = 5 + len(text)
		}
		b.WriteString(text)
	}
	b.WriteString(" ]\n")
}

// quote writes text as the configuration of NATS has it. A variable of that begins with $ outside
// of quotes only.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// Credentials is what a user connects with: a context of the nats command line.
type Credentials struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	User        string `json:"user"`
	Password    string `json:"password"`
	CA          string `json:"ca,omitempty"`
	InboxPrefix string `json:"inbox_prefix"`
}

// For makes the credentials of a user. CA is the file of the certificate that signs the server's,
// as the user sees it; empty: one that its system trusts.
func For(u User, url, ca, password string) Credentials {
	return Credentials{"golive: " + u.what(), url, u.Name, password, ca, protocol.Inbox(u.Name)}
}

// JSON is the file of the context.
func (c Credentials) JSON() []byte {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		panic(err) // it holds text alone
	}
	return append(text, '\n')
}
