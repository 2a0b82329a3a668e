package local

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

// Beacon is how a running `golive up` tells other commands of this user where its bus
// is: a file in the user's cache folder for each data folder.
type Beacon struct {
	URL  string `json:"url"`
	Dir  string `json:"dir"`  // of the manifest
	Cwd  string `json:"cwd"`  // where up was called
	Data string `json:"data"` // folder of the bus
	PID  int    `json:"pid"`
}

// BeaconFolder is the folder of the beacons of this user, whose environment getenv gives.
func BeaconFolder(getenv func(string) string) string {
	if cache := getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "golive", "up")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("golive-%d", os.Getuid()))
	}
	return filepath.Join(cache, "golive", "up")
}

// Light puts the beacon up in a folder, in the place of an earlier one of the same data folder;
// put takes it away again.
func (b Beacon) Light(folder string) (put func(), err error) {
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

// Beacons lists those in a folder whose bus answers.
func Beacons(folder string) []Beacon {
	paths, _ := filepath.Glob(filepath.Join(folder, "*.json"))
	var lit []Beacon
	for _, path := range paths {
		var b Beacon
		data, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(data, &b) != nil || !b.answers() {
			continue
		}
		lit = append(lit, b)
	}
	return lit
}

func (b Beacon) answers() bool {
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

// Near reports whether a command in dir means this bus: up was called there, or dir is in the
// folder of its manifest.
func (b Beacon) Near(dir string) bool {
	inside := func(folder string) bool {
		return dir == folder || strings.HasPrefix(dir, folder+string(filepath.Separator))
	}
	return dir == b.Cwd || inside(b.Dir)
}
