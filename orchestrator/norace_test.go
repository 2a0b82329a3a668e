//go:build !race

package orchestrator_test

const raced = false
