//go:build linux || darwin

package process_test

import (
	"context"
	"fmt"

	"github.com/golive-dev/golive/orchestrator/process"
)

func Example() {
	p, err := process.Start(process.Command{
		Name:   "greeter",
		Args:   []string{"sh", "-c", "echo hello; exit 3"},
		Output: func(line string) { fmt.Println("greeter |", line) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-p.Done()
	fmt.Println(p.Err())
	fmt.Println(p.Stop(context.Background())) // ends what it may have left behind
	// Output:
	// greeter | hello
	// greeter exited with code 3
	// <nil>
}
