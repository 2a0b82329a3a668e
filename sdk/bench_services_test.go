package sdk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// benchTodo is a record of 128 bytes, written as JSON.
type benchTodo struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

func newBenchTodo(n int) benchTodo {
	return benchTodo{ID: fmt.Sprintf("%08d", n), Title: strings.Repeat("x", 100)}
}

// benchSource streams as many records as it is asked for.
func benchSource() relay.Service {
	return relay.Service{Name: "todos", Version: "0.0.1", Streams: map[string]relay.StreamHandler{
		"list": relay.JSONStream(func(_ context.Context, most int, after string, out *relay.Sender) error {
			out.Total(int64(most))
			n, _ := strconv.Atoi(after) // 0: from the beginning
			record, err := json.Marshal(newBenchTodo(0))
			if err != nil {
				return err
			}
			const digits = len(`{"id":"`)
			for n++; n <= most; n++ {
				number := fmt.Appendf(record[digits:digits], "%08d", n)
				if err := out.Send(record, string(number)); err != nil {
					return err
				}
			}
			return nil
		}),
	}}
}

// benchSink reads each record that it is sent, counts them, and tells how many there were.
func benchSink() relay.Service {
	var count atomic.Int64
	return relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add": relay.JSON(func(_ context.Context, todos []benchTodo) (struct{}, error) {
			for _, t := range todos {
				if len(t.ID) != 8 || len(t.Title) != 100 {
					return struct{}{}, fmt.Errorf("no todo: %+v", t)
				}
			}
			count.Add(int64(len(todos)))
			return struct{}{}, nil
		}),
		"keep": func(_ context.Context, m *relay.Message) (any, error) {
			count.Add(int64(len(m.Data) / 128))
			return nil, nil
		},
		"count": relay.JSON(func(context.Context, struct{}) (int64, error) { return count.Swap(0), nil }),
	}}
}

// benchFill moves the records either as the bytes that they are, or as JSON that the script
// reads and writes anew.
func benchFill(records int, bytes bool) sdk.Script {
	if bytes {
		return sdk.Backfill[[]byte]{
			Source: sdk.FromStream[[]byte]("todos.list", records),
			Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[[]byte]) error {
				data := make([]byte, 0, len(b.Records)*128)
				for _, r := range b.Records {
					data = append(data, r.Value...)
				}
				return run.Request(ctx, "todo-search.keep", data, nil, relay.MessageID(b.ID))
			},
		}.Run
	}
	return sdk.Backfill[benchTodo]{
		Source: sdk.FromStream[benchTodo]("todos.list", records),
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[benchTodo]) error {
			todos := make([]benchTodo, len(b.Records))
			for i, r := range b.Records {
				todos[i] = r.Value
			}
			return run.Request(ctx, "todo-search.add", todos, nil, relay.MessageID(b.ID))
		},
	}.Run
}

// benchRole is what a process of its own plays until its standard input ends.
func benchRole(role string) error {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end()
	}()
	if role == "bench bus" {
		s, err := embedded.Start(embedded.Config{Data: os.Getenv("GOLIVE_BENCH_DATA")})
		if err != nil {
			return err
		}
		fmt.Println(s.URL())
		<-ctx.Done()
		return s.Stop()
	}
	r, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Println("ready")
	switch role {
	case "bench source":
		return r.Serve(ctx, benchSource())
	case "bench sink":
		return r.Serve(ctx, benchSink())
	case "bench fill":
		records, err := strconv.Atoi(os.Getenv("GOLIVE_BENCH_RECORDS"))
		if err != nil {
			return err
		}
		return setup(benchFill(records, os.Getenv("GOLIVE_BENCH_BYTES") != "")).Run(ctx, r)
	}
	return fmt.Errorf("unknown role %q", role)
}

// benchProcess runs this test binary in a role, and gives the first line that it writes.
func benchProcess(b *testing.B, role string, env ...string) (cmd *exec.Cmd, line string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(append(os.Environ(), envRole+"=bench "+role), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // its benchmark is over
	})
	if line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("%s: %v", role, err)
	}
	return cmd, strings.TrimSpace(line)
}

// peak is the most memory that a process has had, in MiB.
func peak(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Skip("memory is read from /proc")
	}
	for line := range strings.Lines(string(status)) {
		if of, is := strings.CutPrefix(line, "VmHWM:"); is {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(of), " kB"))
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("the process tells no VmHWM")
	return 0
}

// BenchmarkServiceToService moves records of 128 bytes from a service to another one by a
// Backfill of a stream, the receiver acknowledging each batch, with a durable checkpoint
// after each: every write of the bus is synced to disk. The bus, the services and the setup
// service are processes of their own, and it tells what memory the most of each was.
//
//	go test -run '^$' -bench ServiceToService -benchtime 1000000x -count 6 ./sdk
func BenchmarkServiceToService(b *testing.B) {
	for _, c := range []struct{ name, bytes string }{{"as=bytes", "1"}, {"as=json", ""}} {
		b.Run(c.name, func(b *testing.B) { benchServices(b, c.bytes) })
	}
}

// benchStage is the bus and the processes of a benchmark.
type benchStage struct {
	b                  *testing.B
	ctx                context.Context
	r                  *relay.Relay
	start              protocol.StartMessage
	answered           *nats.Subscription
	source, sink, fill *exec.Cmd
}

func newBenchStage(b *testing.B, bytes string, records int) *benchStage {
	b.Helper()
	s := &benchStage{b: b}
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Minute)
	b.Cleanup(cancel)
	s.ctx = ctx
	_, url := benchProcess(b, "bus", "GOLIVE_BENCH_DATA="+b.TempDir())
	r, err := relay.Connect(ctx, relay.Config{URL: url})
	s.must(err)
	b.Cleanup(r.Close)
	s.r = r
	nc := r.Conn()
	for _, bucket := range []bus.Bucket{bus.Claims, bus.Checkpoints, bus.FailedRecords} {
		_, err := bus.Make(ctx, nc, bucket, "", 1)
		s.must(err)
	}
	_, _, err = bus.MakeRoutes(ctx, nc, "", 1)
	s.must(err)
	at := relay.EnvURL + "=" + url
	s.source, _ = benchProcess(b, "source", at)
	s.sink, _ = benchProcess(b, "sink", at)
	s.fill, _ = benchProcess(b, "fill", at, "GOLIVE_BENCH_BYTES="+bytes, "GOLIVE_BENCH_RECORDS="+strconv.Itoa(records))
	s.start = start(protocol.Online, 1)
	s.start.Rollout, s.start.Services = newID(), map[string]string{"todos": "0.0.1", "todo-search": "0.0.1"}
	for _, to := range []string{
		protocol.AboutScriptSubject(s.start.Script()), protocol.PrivateSubject("todos", "0.0.1", "list"), protocol.PrivateSubject("todo-search", "0.0.1", "count"),
	} {
		for asking := true; asking; { // until it listens
			_, err := nc.Request(to, nil, time.Second)
			asking = err != nil && ctx.Err() == nil
		}
	}
	s.answered, err = nc.SubscribeSync(s.start.Script().Subject(protocol.Done))
	s.must(err)
	return s
}

func (s *benchStage) must(err error) {
	s.b.Helper()
	if err != nil {
		s.b.Fatal(err)
	}
}

func (s *benchStage) send(verb protocol.Verb, payload any) {
	s.b.Helper()
	data, err := json.Marshal(payload)
	s.must(err)
	s.must(s.r.Conn().Publish(s.start.Script().Subject(verb), data))
}

// arrived is how many records the receiver has got since this was asked last.
func (s *benchStage) arrived() (n int) {
	s.b.Helper()
	s.must(s.r.Request(s.ctx, "todo-search.count", nil, &n, relay.ToVersion("0.0.1")))
	return n
}

func benchServices(b *testing.B, bytes string) {
	s := newBenchStage(b, bytes, b.N)
	b.ResetTimer()
	s.send(protocol.Start, s.start)
	answer, err := s.answered.NextMsgWithContext(s.ctx)
	s.must(err)
	b.StopTimer()
	s.must(answer.Respond([]byte(accepted)))
	if n := s.arrived(); n != b.N {
		b.Fatalf("%d records have arrived, want %d", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(peak(b, s.source.Process.Pid), "source-MiB")
	b.ReportMetric(peak(b, s.fill.Process.Pid), "setup-MiB")
	b.ReportMetric(peak(b, s.sink.Process.Pid), "receiver-MiB")
}

// BenchmarkPace tells how well a backfill from service to service keeps to a tenth of its
// full speed, as the receiver sees it over three seconds, and how well to half of that, from
// a second after it was told.
//
//	go test -run '^$' -bench Pace -benchtime 1x -count 6 ./sdk
func BenchmarkPace(b *testing.B) {
	for b.Loop() {
		s := newBenchStage(b, "1", 1<<40)
		s.send(protocol.Start, s.start)
		rest := func(d time.Duration) { // there is nothing to wait for but the time
			t := time.NewTimer(d)
			defer t.Stop()
			<-t.C
		}
		speed := func() float64 {
			s.arrived()
			begun := time.Now()
			rest(3 * time.Second)
			return float64(s.arrived()) / time.Since(begun).Seconds()
		}
		for s.arrived() == 0 {
			rest(time.Millisecond)
		}
		full := speed()
		b.ReportMetric(full, "full-records/s")
		for _, c := range []struct {
			name string
			rate float64
		}{{"tenth", full / 10}, {"half-of-it", full / 20}} {
			s.send(protocol.PaceSet, protocol.ControlMessage{Rollout: s.start.Rollout, Attempt: 1, Pace: &protocol.Pace{Rate: &c.rate}})
			rest(time.Second)
			b.ReportMetric(100*(speed()/c.rate-1), c.name+"-off-%")
		}
	}
}
