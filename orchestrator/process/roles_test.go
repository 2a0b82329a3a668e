//go:build linux || darwin

package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/relay/relaytest"
)

// The test binary plays the programs that the tests run: with envRole set it runs
// no test but the role of that name.
const (
	envRole = "PROCESS_TEST_ROLE"
	envLine = "PROCESS_TEST_LINE" // the address of a switchboard

	envRecords = "PROCESS_TEST_RECORDS" // the folder that golive records its programs in; empty: it does not
	envProgram = "PROCESS_TEST_PROGRAM" // the role of the program of golive
)

func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		relaytest.Parallel(6)
		must(os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))) // roles end at once
		os.Exit(m.Run())
	}
	play, ok := roles[role]
	if !ok {
		panic("there is no role " + role)
	}
	play()
}

var roles = map[string]func(){
	// which end by themselves
	"count":        func() { count() },
	"count-exit-3": func() { count(); os.Exit(3) },
	"killed":       func() { fmt.Println("last words"); must(syscall.Kill(os.Getpid(), syscall.SIGKILL)) },
	"long-line":    longLine,
	"unterminated": func() { fmt.Print("one\n\nthree") },
	"environment":  environment,
	"reader":       reader,

	// which run until they are ended, or told to exit
	"polite":   func() { phone("polite"); select {} },
	"stubborn": func() { signal.Ignore(syscall.SIGTERM); phone("stubborn"); select {} },
	"wrapper":  func() { spawn("stubborn", nil); phone("wrapper"); select {} },
	"chatty":   func() { fmt.Println("stop me"); select {} },
	"go-run":   func() { spawn("careful", nil); phone("go-run"); select {} },
	"careful":  careful,
	"asker":    asker,
	"golive":   golive,
	"watchful": func() { phone("watchful"); awaitEOF() },
	"minded":   func() { phone("minded"); awaitSupervisor() },

	// which leave a zombie in the group
	"negligent":  func() { spawn("stepmother", &syscall.SysProcAttr{Setpgid: true}); phone("negligent"); select {} },
	"stepmother": stepmother,
	"short-life": func() {},
}

// count prints 1 to 100, in turns to standard output and standard error.
func count() {
	for i := 1; i <= 100; i += 2 {
		fmt.Fprintln(os.Stdout, i)
		fmt.Fprintln(os.Stderr, i+1)
	}
}

func longLine() {
	fmt.Println(strings.Repeat("a", 2*process.MaxLine+10))
	fmt.Println(strings.Repeat("b", process.MaxLine))
	fmt.Println("short")
}

func environment() {
	dir, err := os.Getwd()
	must(err)
	fmt.Println(dir)
	fmt.Println(os.Getenv("GREETING"), os.Getenv(process.EnvSupervised))
}

// careful does what a good service does behind `go run`: told to end, it finishes
// its work, although its parent has ended at once, and says so.
func careful() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	test := phone("careful")
	<-term
	awaitEOF() // the parent has ended
	test.say("finishing")
	fmt.Println("finished", <-test.heard)
}

// reader reads all that it can get.
func reader() {
	in, err := io.ReadAll(os.Stdin)
	must(err)
	fmt.Printf("%d bytes\n", len(in))
}

// asker asks, and waits for two answers of the test, which it shows behind its questions.
func asker() {
	test := phone("asker")
	for range 2 {
		fmt.Print("Continue? ")
		fmt.Print(<-test.heard, "\n")
	}
	fmt.Println("it ends")
}

// golive starts a program, as `golive up` does, and waits to be killed.
func golive() {
	c := process.Command{Name: "the program", Args: []string{os.Args[0]}, Env: []string{envRole + "=watchful"}, Records: os.Getenv(envRecords)}
	if role := os.Getenv(envProgram); role != "" {
		c.Env, c.NoInput = []string{envRole + "=" + role}, role == "minded"
	}
	p, err := process.Start(c)
	must(err)
	phone("golive")
	<-p.Done()
}

// stepmother is not in the group of its parent, but starts a process there of whose
// end it takes no notice: it stays in the group as a zombie.
func stepmother() {
	group, err := syscall.Getpgid(os.Getppid())
	must(err)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envRole+"=short-life")
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	out, err := child.StdoutPipe()
	must(err)
	must(child.Start())
	_, err = io.ReadAll(out) // it has ended, or is about to
	must(err)
	phone("stepmother")
	select {}
}

// held are ends of pipes that stay open as long as this process lives.
var held []io.Closer

// spawn starts a role with this one's output, and with standard input that ends when
// this process does.
func spawn(role string, attributes *syscall.SysProcAttr) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = attributes
	stdin, err := cmd.StdinPipe()
	must(err)
	held = append(held, stdin)
	must(cmd.Start())
}

func awaitEOF() {
	_, err := io.Copy(io.Discard, os.Stdin)
	must(err)
}

// awaitSupervisor waits for the end of the descriptor that the environment names.
func awaitSupervisor() {
	fd, err := strconv.Atoi(os.Getenv(process.EnvSupervisedFD))
	must(err)
	_, err = io.Copy(io.Discard, os.NewFile(uintptr(fd), "supervisor"))
	must(err)
}

// line is a role's connection to the test. It is cut when the role's process ends;
// when the test ends first, so does the process.
type line struct {
	net.Conn
	heard chan string // what the test says, but for "exit" and a code, which is obeyed
}

// phone calls the test and says who is there.
func phone(role string) line {
	conn, err := net.Dial("tcp", os.Getenv(envLine))
	must(err)
	l := line{conn, make(chan string, 10)}
	l.say(role + " " + strconv.Itoa(os.Getpid()))
	go l.listen()
	return l
}

func (l line) say(what string) {
	_, err := fmt.Fprintln(l, what)
	must(err)
}

func (l line) listen() {
	for in := bufio.NewScanner(l); in.Scan(); {
		if code, ok := strings.CutPrefix(in.Text(), "exit "); ok {
			n, err := strconv.Atoi(code)
			must(err)
			os.Exit(n)
		}
		l.heard <- in.Text()
	}
	os.Exit(9)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
