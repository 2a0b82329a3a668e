package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Names of what lives in JetStream.
const (
	Stream       = "GOLIVE"        // the journal, answers and timers
	RoutesBucket = "golive-routes" // key: service
	LeasesBucket = "golive-leases" // key: [LeaseKey]; which instances are alive
	LedgerBucket = "golive-ledger" // what has run: the environment, and a book for each app
	ClaimsBucket = "golive-claims" // key: [ClaimKey]; what setup services have begun, and answers that nobody has accepted yet

	CheckpointsBucket   = "golive-checkpoints"    // key: [CheckpointKey]; how far scripts have come
	FailedRecordsBucket = "golive-failed-records" // key: [FailedRecordKey]; what scripts could not deal with

	AgentsBucket = "golive-agents" // key: an agent's name; which agents are alive
	HostsBucket  = "golive-hosts"  // key: [HostKey]; what agents have done

	SnapshotsStore = "golive-snapshots" // an object store: the snapshots of apps
	TakesBucket    = "golive-takes"     // key: an app; the snapshot that is being taken or checked

	RehearsalsBucket = "golive-rehearsals" // key: an app and the digest of a release; what came of its last rehearsal
)

// Wildcards for those that follow everything of a kind.
const (
	AllRollouts = "golive.rollout.>"
	AllAnswers  = "golive.answer.>"
	AllTimers   = "golive.timer.>"
	AllDue      = "golive.due.>"
	AllNotices  = "golive.notice.>"
)

// EnvironmentSubject is where orchestrators tell each other of which environment they are. Not
// durable.
const EnvironmentSubject = "golive.environment"

// RolloutSubject is where everything that happens to a rollout is published.
func RolloutSubject(app, rollout string) string { return "golive.rollout." + app + "." + rollout }

// AppRollouts matches the rollouts of one app.
func AppRollouts(app string) string { return "golive.rollout." + app + ".>" }

// TimerSubject holds the one timer of a rollout.
func TimerSubject(app, rollout string) string { return "golive.timer." + app + "." + rollout }

// DueSubject is where the timer of a rollout goes off.
func DueSubject(app, rollout string) string { return "golive.due." + app + "." + rollout }

// NoticeSubject is where orchestrators tell each other and watchers what a rollout
// waits for. Not durable.
func NoticeSubject(app, rollout string) string { return "golive.notice." + app + "." + rollout }

// LogSubject is where the scripts of a rollout publish what they log. Not durable.
func LogSubject(rollout string) string { return "golive.log." + rollout }

// AnswerSubject is the reply subject of a start:
// golive.answer.<rollout>.<step>.<attempt>.<do|revert>. Steps are numbered from 1.
func AnswerSubject(rollout string, step, attempt int, revert bool) string {
	return "golive.answer." + rollout + "." + strconv.Itoa(step) + "." + strconv.Itoa(attempt) + "." + direction(revert)
}

// ParseAnswerSubject takes an [AnswerSubject] apart; ok is false for anything else.
func ParseAnswerSubject(subject string) (rollout string, step, attempt int, revert, ok bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 || tokens[2] == "" {
		return "", 0, 0, false, false
	}
	step, errStep := strconv.Atoi(tokens[3])
	attempt, errAttempt := strconv.Atoi(tokens[4])
	revert = tokens[5] == direction(true)
	if errStep != nil || errAttempt != nil || step < 1 || attempt < 1 ||
		subject != AnswerSubject(tokens[2], step, attempt, revert) { // "01" and "+1" are numbers too
		return "", 0, 0, false, false
	}
	return tokens[2], step, attempt, revert, true
}

// ClaimKey is the key under which an instance of a setup service claims an attempt:
// <rollout>.<name>.<phase>.<attempt>.<do|revert>.
func ClaimKey(rollout, step string, attempt int, revert bool) string {
	return rollout + "." + strings.ReplaceAll(step, "/", ".") + "." + strconv.Itoa(attempt) + "." + direction(revert)
}

// CheckpointKey is the key under which the attempts of a step, one after the other, keep
// how far they have come: <rollout>.<name>.<phase>.<do|revert>.
func CheckpointKey(rollout, step string, revert bool) string {
	return rollout + "." + strings.ReplaceAll(step, "/", ".") + "." + direction(revert)
}

// FailedRecordKey is the key under which a backfill of a script puts aside a record that it
// could not deal with, its [CheckpointKey] and a digest of the backfill's name, the partition
// and the cursor: the same for the same record, however often that happens, and of no other
// one. Either of the three may be empty, and may hold any bytes.
func FailedRecordKey(rollout, step string, revert bool, backfill, partition, cursor string) string {
	sum := sha256.Sum256(joined(backfill, partition, cursor))
	return CheckpointKey(rollout, step, revert) + "." + hex.EncodeToString(sum[:16])
}

// joined writes texts behind each other, each behind its length in bytes, "1:a2:bc": another
// text, or the same bytes cut in another place, is written otherwise.
func joined(texts ...string) []byte {
	var all []byte
	for _, text := range texts {
		all = append(append(strconv.AppendInt(all, int64(len(text)), 10), ':'), text...)
	}
	return all
}

// FailedRecordKeys matches the keys of all records that a rollout has put aside.
func FailedRecordKeys(rollout string) string { return rollout + ".>" }

// AboutScriptSubject is where a setup service that remembers its attempts tells about
// one of its scripts, golive.script.<name>.<encoded version>.<phase>; see [ScriptInfo].
func AboutScriptSubject(s Script) string {
	return "golive.script." + s.Name + "." + EncodeVersion(s.Version) + "." + string(s.Phase)
}

// HelloSubject is where an instance of a setup service says that it listens from now on;
// see [Hello].
const HelloSubject = "golive.hello"

// WantedSubject is where an orchestrator asks for setup services of an app that somebody has to
// start first; see [Wanted].
func WantedSubject(app string) string { return "golive.wanted." + app }

func direction(revert bool) string {
	if revert {
		return "revert"
	}
	return "do"
}

// APISubject is the endpoint of a command to the orchestrator, such as "deploy".
func APISubject(command string) string { return "golive.api." + command }

// UserAPISubject is the endpoint of a command that a NATS user asks for. A user who may
// publish on no other user's endpoints is known by it: grant ann "golive.api.*.ann".
func UserAPISubject(command, user string) string { return APISubject(command) + "." + userToken(user) }

// ParseUserAPISubject takes the user out of a [UserAPISubject]; it is empty for an
// [APISubject].
func ParseUserAPISubject(subject string) (user string, ok bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) == 3 {
		return "", true
	}
	if len(tokens) != 4 {
		return "", false
	}
	user, err := url.PathUnescape(strings.ReplaceAll(tokens[3], "=", "%"))
	return user, err == nil && user != "" && userToken(user) == tokens[3]
}

// userToken writes a user's name as one token: letters, digits, "_", "-" and "@" stand for
// themselves, any other byte is "=" and two hexadecimal digits.
func userToken(user string) string {
	var token strings.Builder
	for _, c := range []byte(user) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '@':
			token.WriteByte(c)
		default:
			fmt.Fprintf(&token, "=%02X", c)
		}
	}
	return token.String()
}

// IsInbox reports whether a subject is one that answers go to: its first token begins with "_", as
// _INBOX does, and what servers make of it on the way through accounts and clusters. Nobody checks
// the reply subject of a request against the rights of who asks, and whoever answers may publish
// more: so people's commands are answered at inboxes only.
func IsInbox(subject string) bool { return strings.HasPrefix(subject, "_") }

// Answerable reports whether a request may be answered at its reply subject: at any that neither
// golive, setup services nor JetStream read.
func Answerable(reply string) bool {
	return !slices.ContainsFunc([]string{"golive.", "deployment-", "$"}, func(prefix string) bool { return strings.HasPrefix(reply, prefix) })
}

// ProductionSubject is where production requests of a service arrive.
func ProductionSubject(service, message string) string { return service + "." + message }

// PrivateSubject is where one version of a service is reached whether or not it is
// online.
func PrivateSubject(service, version, message string) string {
	return PrivatePrefix(service, version) + message
}

// EncodeVersion writes a version as one token of a subject: "." becomes "_" and "+"
// becomes "=", which no version contains.
func EncodeVersion(version string) string {
	return strings.NewReplacer(".", "_", "+", "=").Replace(version)
}

// PrivatePrefix is what the private subjects of one version begin with; the message
// follows.
func PrivatePrefix(service, version string) string {
	return "golive.service." + service + "." + EncodeVersion(version) + "."
}

// InstanceSubject is where one instance of a version answers, with an empty message, for as long
// as it is on the bus, in the queue group of its service: NATS tells with status 503 when it is
// gone.
func InstanceSubject(service, version, instance string) string {
	return PrivatePrefix(service, version) + instance
}

// LeaseKey is the key of an instance's lease, <service>.<encoded version>.<instance>.
func LeaseKey(service, version, instance string) string {
	return service + "." + EncodeVersion(version) + "." + instance
}

// ParseLeaseKey takes a [LeaseKey] apart; ok is false for anything else. The version
// stays encoded.
func ParseLeaseKey(key string) (service, encodedVersion, instance string, ok bool) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// KeySubject is the subject that a key of a bucket is stored under. A lease is
// published there with the header Nats-TTL, because a KV client cannot renew one.
func KeySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

// ConfirmSubject is where an instance confirms revisions of its service's route.
func ConfirmSubject(service, instance string) string {
	return "golive.confirm." + service + "." + instance
}

// ParseConfirmSubject takes a [ConfirmSubject] apart; ok is false for anything else.
func ParseConfirmSubject(subject string) (service, instance string, ok bool) {
	return parsePair("golive.confirm.", subject)
}

// ParseDueSubject takes a [DueSubject] apart; ok is false for anything else.
func ParseDueSubject(subject string) (app, rollout string, ok bool) {
	return parsePair("golive.due.", subject)
}

// parsePair takes the two tokens behind a prefix apart.
func parsePair(prefix, subject string) (first, second string, ok bool) {
	rest, found := strings.CutPrefix(subject, prefix)
	first, second, pair := strings.Cut(rest, ".")
	if !found || !pair || first == "" || second == "" || strings.Contains(second, ".") {
		return "", "", false
	}
	return first, second, true
}

// AllConfirms matches the confirmations of all instances of all services.
const AllConfirms = "golive.confirm.>"
