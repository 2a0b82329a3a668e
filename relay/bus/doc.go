// Package bus is how golive's own parts open the buckets that they share, ask the leaders of
// JetStream, and start programs that end with them. It promises no stability: programs on
// golive need package relay alone.
package bus
