package orchestrator_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk"
)

// What this test binary plays in a process of its own, see [TestBenchRole].
const (
	envBenchRole = "GOLIVE_BENCH_ROLE"
	envBenchApps = "GOLIVE_BENCH_APPS" // how many
)

// TestBenchRole is what the benchmarks run in other processes, each until its standard input
// ends. Alone it does nothing.
func TestBenchRole(t *testing.T) {
	role := os.Getenv(envBenchRole)
	if role == "" {
		t.Skip("only the benchmarks run it, in processes of their own")
	}
	ctx, stop := context.WithCancel(t.Context())
	told := make(chan string, 1)
	go func() {
		defer stop()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			told <- lines.Text()
		}
	}()
	r, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	switch role {
	case "observer":
		err = observeOutcomes(ctx, r.Conn())
	case "worker":
		err = workFor(ctx, r, nothing)
	case "holding worker":
		err = workFor(ctx, r, heldUntil(told))
	default:
		t.Fatalf("unknown role %q", role)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// observeOutcomes tells when it has heard of the end of which rollout.
func observeOutcomes(ctx context.Context, nc *nats.Conn) error {
	apps, err := strconv.Atoi(os.Getenv(envBenchApps))
	if err != nil {
		return err
	}
	for app := range apps {
		_, err := nc.Subscribe(outcomesOf(appNamed(app)), func(m *nats.Msg) {
			if fact(m) {
				fmt.Println(m.Subject, time.Now().UnixNano())
			}
		})
		if err != nil {
			return err
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// workFor runs the setup services of the first version of all apps.
func workFor(ctx context.Context, r *relay.Relay, script sdk.Script) error {
	apps, err := strconv.Atoi(os.Getenv(envBenchApps))
	if err != nil {
		return err
	}
	wait := listenSDK(ctx, r, releasesOf(apps, apps, 0), script)
	fmt.Println("ready")
	return wait()
}

// heldUntil is a script that tells that it runs, and ends when anything is told.
func heldUntil(told <-chan string) sdk.Script {
	released := make(chan struct{})
	go func() { <-told; close(released) }() // ends with the process
	var mu sync.Mutex
	return func(ctx context.Context, run *sdk.Run) error {
		mu.Lock()
		fmt.Println("runs", run.Start.Step)
		mu.Unlock()
		select {
		case <-released:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// benchPlayer is a program in a process of its own. It ends with the benchmark at the latest.
type benchPlayer struct {
	b     *testing.B
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // that it has written
	ended sync.WaitGroup
	once  sync.Once
}

// playRole runs this test binary in a role.
func playRole(b *testing.B, role, url string, env ...string) *benchPlayer {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchRole$")
	cmd.Env = append(os.Environ(), append(env, envBenchRole+"="+role, relay.EnvURL+"="+url, "GORACE=atexit_sleep_ms=0")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	return startPlayer(b, cmd, out)
}

func startPlayer(b *testing.B, cmd *exec.Cmd, out io.Reader) *benchPlayer {
	b.Helper()
	p := &benchPlayer{b: b, cmd: cmd, lines: make(chan string, 100_000)}
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil { // its end is the end of the process, should the benchmark die
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p.ended.Go(func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	})
	b.Cleanup(p.kill)
	return p
}

// kill ends it with SIGKILL, and returns when it has ended.
func (p *benchPlayer) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		for range p.lines {      // nobody needs them any more
		}
		p.ended.Wait()
		_ = p.cmd.Wait() // it was killed
	})
}

// line gives the next line that it writes.
func (p *benchPlayer) line() string {
	p.b.Helper()
	select {
	case text, ok := <-p.lines:
		if !ok {
			p.b.Fatalf("%s has ended", p.cmd)
		}
		return text
	case <-time.After(benchPatience):
		p.b.Fatalf("%s does not tell more", p.cmd)
		panic("unreachable")
	}
}

// await waits for a line that holds a text.
func (p *benchPlayer) await(text string) {
	p.b.Helper()
	for !strings.Contains(p.line(), text) {
	}
}

// buildGolive makes the program, and gives its path.
func buildGolive(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "golive")
	if out, err := exec.Command("go", "build", "-o", path, "./cmd/golive").CombinedOutput(); err != nil {
		b.Fatalf("build golive: %v\n%s", err, out)
	}
	return path
}

// runServe runs golive serve, and returns at once.
func runServe(b *testing.B, golive, url string, heartbeat time.Duration) *benchPlayer {
	b.Helper()
	cmd := exec.Command(golive, "serve", "--nats", url, "--heartbeat", heartbeat.String())
	out, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	return startPlayer(b, cmd, out)
}

const serveReady = "orchestrator is ready"

// memoryOf gives a figure of a process, such as VmRSS, in MB; 0 where there is no /proc.
func memoryOf(p *benchPlayer, name string) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, found := strings.CutPrefix(line, name+":"); found {
			kilobytes, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64) // 0: not known
			return kilobytes / 1024
		}
	}
	return 0
}
