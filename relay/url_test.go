package relay_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
)

func TestAURLWithoutAServerIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for url, why := range map[string]string{
		"127.0.0.1:99999":                 "there is no port 99999: write one from 1 to 65535",
		"nats://a:0":                      "there is no port 0: write one from 1 to 65535",
		"nats://a:4222,nats://b:65536":    "there is no port 65536: write one from 1 to 65535",
		"nats://[::1]:99999":              "there is no port 99999: write one from 1 to 65535",
		"http://ada:secret@a:4222":        "a URL that begins with http:// is not that of a NATS server: write nats://HOST:PORT, or tls://, ws:// or wss://",
		"https://a":                       "a URL that begins with https:// is not that of a NATS server: write nats://HOST:PORT, or tls://, ws:// or wss://",
		"nats://ada:secret@":              "the URL cannot be read: write nats://HOST:PORT, and in a password %40 for @, %2F for / and so on",
		"nats://a:4222,http://b:4222,c:0": "a URL that begins with http:// is not that of a NATS server: write nats://HOST:PORT, or tls://, ws:// or wss://",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := relay.Connect(ctx, relay.Config{URL: url})
		if err == nil || ctx.Err() != nil || !strings.HasSuffix(err.Error(), ": "+why) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", url, err, why)
		}
		cancel()
		if err := relay.CheckURL(url); err == nil || err.Error() != why {
			t.Errorf("%s: %v, want %q", url, err, why)
		}
	}
	for _, url := range []string{"", "a", "a:1", "nats://a", "NATS://a:65535", "tls://a:4222", "ws://a:80,wss://b/path", "nats://ada:secret@a:4222, b"} {
		if err := relay.CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
