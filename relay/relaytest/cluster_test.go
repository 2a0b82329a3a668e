package relaytest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/relaytest"
)

// longestElection is how long a stream may be without a leader after its leader died.
const longestElection = 15 * time.Second

func TestAClusterOutlivesTheLeaderOfAStream(t *testing.T) {
	relaytest.Long(t)
	c := relaytest.StartCluster(t, 3)
	js, err := jetstream.New(c.Connect().Conn())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "test", Subjects: []string{"a"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "a", []byte("before")); err != nil {
		t.Fatal(err)
	}

	first := c.Leader("test")
	c.Stop(first)
	died := time.Now()
	publish(t, js, "while one is dead")
	if took := time.Since(died); took < time.Second {
		t.Errorf("published %s after the death of the leader: it has handed over", took)
	}
	second := c.Leader("test")
	if second == first {
		t.Fatalf("server %d leads, and is dead", second)
	}

	c.StartAgain(first)
	c.AwaitCurrent("test")
	c.Stop(second)
	publish(t, js, "while the other is dead")
	var text string
	retry(t, "read message 1", func(ctx context.Context) error {
		s, err := js.Stream(ctx, "test")
		if err != nil {
			return err // JetStream itself may still be without a leader
		}
		m, err := s.GetMsg(ctx, 1)
		if err != nil {
			return err
		}
		text = string(m.Data)
		return nil
	})
	if text != "before" {
		t.Errorf("message 1 is %q", text)
	}
}

func TestACommonURLLeadsToEveryServer(t *testing.T) {
	c := relaytest.StartCluster(t, 3)
	nc := c.Connect().Conn()
	for i := range c.URLs() {
		c.Stop(i)
		retry(t, "reach another server", nc.FlushWithContext)
		c.StartAgain(i)
	}
}

func publish(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	retry(t, "publish "+text, func(ctx context.Context) error {
		_, err := js.Publish(ctx, "a", []byte(text))
		return err
	})
}

// retry calls do until it succeeds, for as long as an election may take.
func retry(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	deadline := time.After(longestElection)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := do(ctx)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: not within %s: %v", what, longestElection, err)
		}
	}
}
