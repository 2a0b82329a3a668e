package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAPutKilledAtAnyTimeLeavesOneOfTheTwo kills programs that put one of two states, now and
// then before they are done, and looks at what is there.
func TestAPutKilledAtAnyTimeLeavesOneOfTheTwo(t *testing.T) {
	above := t.TempDir()
	folder, database := filepath.Join(above, "state"), filepath.Join(above, "db")
	for kind, c := range map[string]struct {
		path string
		of   Provider
		make func(n int)
		is   func() string
	}{
		"files": {folder, Files{Dir: folder}, func(n int) {
			for i := range 100 {
				write(t, fmt.Sprintf("%s/%d/file", folder, i), fmt.Sprint(n))
			}
		}, func() string { return tree(t, folder) }},
		"sqlite": {database, SQLite{Path: database}, func(n int) {
			must(t, os.RemoveAll(database))
			numbers(t, database, 2000*n, wal)
		}, func() string {
			db := openDB(t, database, "")
			defer db.Close()
			var whole string
			must(t, db.QueryRow("PRAGMA integrity_check").Scan(&whole))
			return fmt.Sprint(number(t, db, "SELECT count(*) FROM numbers"), whole)
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			var snapshots, states []string
			for n := range 2 {
				c.make(n + 1)
				dir := t.TempDir()
				must(t, Sealed{Of: c.of}.Take(t.Context(), dir))
				snapshots, states = append(snapshots, dir), append(states, c.is())
			}
			before, begun, killed, changed := 1, time.Now(), 0, 0
			must(t, command(kind, c.path, "put", EnvSnapshotDir+"="+snapshots[1]).Run())
			usual := time.Since(begun)
			for range 20 {
				cmd := command(kind, c.path, "put", EnvSnapshotDir+"="+snapshots[1-before])
				must(t, cmd.Start())
				kill := time.AfterFunc(time.Duration(rand.Int64N(int64(usual))), func() { _ = cmd.Process.Kill() })
				if cmd.Wait() != nil {
					killed++
				} else if before = 1 - before; c.is() != states[before] {
					t.Fatalf("it was put, and is %.200s", c.is())
				}
				kill.Stop()
				switch is := c.is(); is {
				case states[before]:
				case states[1-before]:
					before = 1 - before
					changed++
				default:
					t.Fatalf("it is neither the one nor the other, but %.200s", is)
				}
			}
			t.Logf("%d of 20 were killed, %d of them had put it", killed, changed)
			must(t, Sealed{Of: c.of}.Put(t.Context(), snapshots[0]))
			if is := c.is(); is != states[0] {
				t.Errorf("put in the end it is %.200s", is)
			}
		})
	}
}
