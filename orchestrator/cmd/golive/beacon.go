package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// beacon is how a running `golive up` tells other commands of this user where its bus
// is: a file in the user's cache folder for each data folder.
type beacon struct {
	URL  string `json:"url"`
	Dir  string `json:"dir"`  // of the manifest
	Cwd  string `json:"cwd"`  // where up was called
	Data string `json:"data"` // folder of the bus
	PID  int    `json:"pid"`
}

func beaconFolder(getenv func(string) string) string {
	if cache := getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "golive", "up")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("golive-%d", os.Getuid()))
	}
	return filepath.Join(cache, "golive", "up")
}

// light puts the beacon up; put takes it away again.
func (b beacon) light(folder string) (put func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("tell other commands where the bus is: %w", err)
	}
	sum := sha256.Sum256([]byte(b.Data))
	path := filepath.Join(folder, hex.EncodeToString(sum[:8])+".json")
	data, err := json.Marshal(b)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("tell other commands where the bus is: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}

// beacons lists those whose bus answers.
func beacons(folder string) []beacon {
	paths, _ := filepath.Glob(filepath.Join(folder, "*.json"))
	var lit []beacon
	for _, path := range paths {
		var b beacon
		data, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(data, &b) != nil || !b.answers() {
			continue
		}
		lit = append(lit, b)
	}
	return lit
}

func (b beacon) answers() bool {
	u, err := url.Parse(b.URL)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, 500*time.Millisecond)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// near reports whether a command in dir means this bus.
func (b beacon) near(dir string) bool {
	inside := func(folder string) bool {
		return dir == folder || strings.HasPrefix(dir, folder+string(filepath.Separator))
	}
	return dir == b.Cwd || inside(b.Dir)
}
