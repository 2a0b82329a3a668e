package features

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk"
)

// play is a program of an app under test: it plays a role and returns the exit code.
func play(role string, args []string) int {
	switch role {
	case "service":
		return playService()
	case "setup":
		return playSetup(args)
	case "records":
		return playRecords(args)
	case "seed":
		return playSeed()
	case "bare setup":
		return playBareSetup(args)
	case "stubborn":
		return playStubborn(args)
	case "tool":
		return playTool(args[0], strings.Join(args[1:], ""))
	case "quitter":
		return playQuitter()
	}
	fmt.Fprintf(os.Stderr, "there is no role %q\n", role)
	return 2
}

// report opens the line to the board, and keeps it open as long as the program lives.
// A program whose scenario is over ends.
func report(role string) {
	line, err := net.Dial("tcp", os.Getenv(envBoard))
	if err == nil {
		err = json.NewEncoder(line).Encode(hello{Role: role, Name: myName(), Version: os.Getenv(relay.EnvVersion), PID: os.Getpid()})
	}
	in := bufio.NewReader(line)
	if err == nil {
		_, err = in.ReadString('\n') // now the board knows us
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "report to the board: %v\n", err)
		os.Exit(4)
	}
	go func() { // ends with the process
		word, _ := in.ReadString('\n') // without a word, the board is gone
		if word == "end\n" {
			fmt.Println("out of memory")
			os.Exit(3)
		}
		os.Exit(0)
	}()
}

// myName is the service whose program this is, or the app.
func myName() string {
	if service := os.Getenv(relay.EnvService); service != "" {
		return service
	}
	return os.Getenv("GOLIVE_APP")
}

// playService answers which version it is.
func playService() int {
	report("service")
	version := os.Getenv(relay.EnvVersion)
	return relay.Main(relay.Service{
		Name: os.Getenv(relay.EnvService), Version: version,
		Handlers: map[string]relay.Handler{
			"version": func(context.Context, *relay.Message) (any, error) { return version, nil },
		},
	})
}

// playSetup is a setup service that has scripts for some phases.
func playSetup(phases []string) int {
	report("setup service")
	s := sdk.SetupService{Version: os.Getenv(relay.EnvVersion)}
	if s.Service = os.Getenv(relay.EnvService); s.Service == "" {
		s.App = os.Getenv("GOLIVE_APP")
	}
	for _, phase := range phases {
		script := obey(myName() + " " + s.Version + " " + phase)
		switch phase {
		case "before":
			s.Before = script
		case "before revert":
			s.RevertBefore = script
		case "offline":
			s.Offline = script
		case "offline revert":
			s.RevertOffline = script
		case "online":
			s.Online = script
		case "online revert":
			s.RevertOnline = script
		case "setup":
			s.Setup = script
		case "setup revert":
			s.RevertSetup = script
		}
	}
	return sdk.Main(s)
}

// changeData does to the data what the board says.
func changeData(ctx context.Context, o order) error {
	if o.Writes == "" && o.Removes == "" {
		return nil
	}
	nc, err := nats.Connect(os.Getenv("GOLIVE_NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil && o.Writes != "" {
		_, err = js.Publish(ctx, o.Writes, []byte("written"))
	}
	if err != nil || o.Removes == "" {
		return err
	}
	name, _, _ := strings.Cut(o.Removes, ".")
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(o.Removes))
}

// obey is a script that does what the board says, and holds when it is paused.
func obey(script string) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		holding, end := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() { tellPauses(holding, run) })
		defer func() { end(); watch.Wait() }()
		o, err := ask(ctx, script, func(o order) {
			if o.Print != "" {
				fmt.Println(o.Print)
			}
			if o.Log != "" {
				run.Log.Info(o.Log)
			}
			if o.Items > 0 {
				run.Progress(o.Items, max(o.Items, o.Total), o.Note)
			}
		})
		if err == nil && run.Paused() {
			if err = run.AwaitResume(ctx); err == nil {
				run.Log.Info("going on")
			}
		}
		if err == nil {
			err = changeData(ctx, o)
		}
		switch {
		case err != nil:
			return err
		case o.Do == "fail for good":
			return sdk.Permanent(errors.New(o.Text))
		case o.Do == "fail":
			return errors.New(o.Text)
		case o.Do == "panic":
			panic(o.Text)
		}
		return nil
	}
}

// tellPauses logs when the script is paused, as one does that works piece by piece.
func tellPauses(ctx context.Context, run *sdk.Run) {
	piece := time.NewTicker(10 * time.Millisecond)
	defer piece.Stop()
	for {
		select {
		case <-piece.C:
		case <-ctx.Done():
			return
		}
		if !run.Paused() {
			continue
		}
		run.Log.Info("holding")
		_ = run.AwaitResume(ctx) // that it may go on is told by the script
	}
}

// ask tells the board that a script has begun, does meanwhile what it may do before it
// has the word to go on, and gives what it shall do in the end.
func ask(ctx context.Context, script string, meanwhile func(order)) (order, error) {
	var o order
	line, err := new(net.Dialer).DialContext(ctx, "tcp", os.Getenv(envBoard))
	if err != nil {
		return o, err
	}
	defer line.Close()
	defer context.AfterFunc(ctx, func() { _ = line.Close(); tellStopped(script) })()
	if err := json.NewEncoder(line).Encode(hello{Script: script, PID: os.Getpid()}); err != nil {
		return o, err
	}
	in := json.NewDecoder(line)
	if err := in.Decode(&o); err != nil {
		return o, errors.Join(err, context.Cause(ctx))
	}
	meanwhile(o)
	if !o.Wait {
		return o, nil
	}
	if err := in.Decode(&o); err != nil {
		return o, errors.Join(err, context.Cause(ctx))
	}
	return o, nil
}

// tellStopped tells the board that a script was told to stop.
func tellStopped(script string) {
	line, err := net.Dial("tcp", os.Getenv(envBoard))
	if err != nil {
		return // it is gone, and its scenario with it
	}
	defer line.Close()
	_ = json.NewEncoder(line).Encode(hello{Stopped: script})
}

// playStubborn does not end when it is asked to, nor does the program it has forked.
func playStubborn(args []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if slices.Contains(args, "child") {
		report("child of a stubborn program")
		select {}
	}
	child := exec.Command(os.Args[0], "-role", "stubborn", "child")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	report("stubborn program")
	select {}
}

// playQuitter ends as soon as it has begun.
func playQuitter() int {
	report("quitter")
	fmt.Println("there is no configuration")
	return 3
}

// playSeed makes as many records as it is told to; more than 99 are too many.
func playSeed() int {
	fmt.Println("making", os.Getenv("GOLIVE_SEED"), "todos in", os.Getenv("GOLIVE_APP"))
	if len(os.Getenv("GOLIVE_SEED")) > 2 {
		fmt.Println("that is too many")
		return 3
	}
	return 0
}
