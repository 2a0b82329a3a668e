package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// TestManifestAndRolloutAgree holds together what the two packages say each for itself.
func TestManifestAndRolloutAgree(t *testing.T) {
	for _, c := range []struct {
		what              string
		manifest, rollout time.Duration
	}{
		{"DefaultBackoff", release.DefaultBackoff, rollout.DefaultBackoff},
		{"MaxBackoff", release.MaxBackoff, rollout.MaxBackoff},
		{"MaxRetries", release.MaxRetries, rollout.MaxRetries},
		{"DefaultRetryAfter", release.DefaultRetryAfter, rollout.DefaultRetryAfter},
	} {
		if c.manifest != c.rollout {
			t.Errorf("%s of a manifest and of a rollout differ", c.what)
		}
	}
}

func TestDeploySaysWhatTheManifestSaysOfRetriesAndSkipping(t *testing.T) {
	m, err := release.Parse("golive.yaml", []byte(`
app: a
version: 0.0.2
mustNotSkip: [0.0.1, 0.0.2]
services:
  b: {version: 1.0.0, retries: 100, backoff: 5m}
  c: {version: 1.0.0, retries: 3}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := releaseOf(m)
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if want := []string{"0.0.1", "0.0.2"}; !reflect.DeepEqual(r.MustNotSkip, want) {
		t.Errorf("mustNotSkip is %q", r.MustNotSkip)
	}
	b, c := r.Services[0], r.Services[1]
	if b.Retries != 100 || b.Backoff != rollout.Duration(5*time.Minute) || c.Retries != 3 || c.Backoff != 0 {
		t.Errorf("the services are %+v", r.Services)
	}
}
