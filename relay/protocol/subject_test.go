package protocol_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

const rollout = "0199c6d2-0000-7000-8000-000000000000"

func TestSubjects(t *testing.T) {
	for got, want := range map[string]string{
		protocol.RolloutSubject("todo-app", rollout):                                                             "golive.rollout.todo-app." + rollout,
		protocol.AppRollouts("todo-app"):                                                                         "golive.rollout.todo-app.>",
		protocol.TimerSubject("todo-app", rollout):                                                               "golive.timer.todo-app." + rollout,
		protocol.DueSubject("todo-app", rollout):                                                                 "golive.due.todo-app." + rollout,
		protocol.NoticeSubject("todo-app", rollout):                                                              "golive.notice.todo-app." + rollout,
		protocol.LogSubject(rollout):                                                                             "golive.log." + rollout,
		protocol.AnswerSubject(rollout, 3, 2, false):                                                             "golive.answer." + rollout + ".3.2.do",
		protocol.AnswerSubject(rollout, 3, 2, true):                                                              "golive.answer." + rollout + ".3.2.revert",
		protocol.ClaimKey(rollout, "todo-search/offline", 2, false):                                              rollout + ".todo-search.offline.2.do",
		protocol.ClaimKey(rollout, "todo-search/offline", 2, true):                                               rollout + ".todo-search.offline.2.revert",
		protocol.APISubject("deploy"):                                                                            "golive.api.deploy",
		protocol.ProductionSubject("todo-search", "add"):                                                         "todo-search.add",
		protocol.PrivateSubject("todo-search", "0.0.1", "add"):                                                   "golive.service.todo-search.0_0_1.add",
		protocol.PrivateSubject("todos", "1.0.0-rc.1+build.5", "a.b.c"):                                          "golive.service.todos.1_0_0-rc_1=build_5.a.b.c",
		protocol.InstanceSubject("todo-search", "0.0.1", "0123456789abcdef"):                                     "golive.service.todo-search.0_0_1.0123456789abcdef",
		protocol.ConfirmSubject("todo-search", "0123456789abcdef"):                                               "golive.confirm.todo-search.0123456789abcdef",
		protocol.PrivatePrefix("todos", "0.0.1"):                                                                 "golive.service.todos.0_0_1.",
		protocol.LeaseKey("todos", "1.0.0+b.5", "0123"):                                                          "todos.1_0_0=b_5.0123",
		protocol.KeySubject(protocol.LeasesBucket, "todos.0_0_1.0123"):                                           "$KV.golive-leases.todos.0_0_1.0123",
		protocol.HelloSubject:                                                                                    "golive.hello",
		protocol.CheckpointKey(rollout, "todo-search/offline", true):                                             rollout + ".todo-search.offline.revert",
		protocol.AboutScriptSubject(protocol.Script{Name: "todos", Version: "1.0.0+b", Phase: protocol.Offline}): "golive.script.todos.1_0_0=b.offline",
		protocol.EncodeVersion("1.0.0-rc.1+build.5"):                                                             "1_0_0-rc_1=build_5",
		protocol.EncodeVersion("0.0.1"):                                                                          "0_0_1",
		protocol.Stream + " " + protocol.RoutesBucket:                                                            "GOLIVE golive-routes",
		protocol.LedgerBucket + " " + protocol.ClaimsBucket:                                                      "golive-ledger golive-claims",
		protocol.AllRollouts + " " + protocol.AllAnswers:                                                         "golive.rollout.> golive.answer.>",
		protocol.AllTimers + " " + protocol.AllDue:                                                               "golive.timer.> golive.due.>",
		protocol.AllNotices + " " + protocol.AllConfirms:                                                         "golive.notice.> golive.confirm.>",
		protocol.HeaderRollout + " " + protocol.HeaderAttempt:                                                    "Golive-Rollout Golive-Attempt",
		protocol.HeaderStep + " " + protocol.HeaderMessageID:                                                     "Golive-Step Golive-Message-Id",
		protocol.HeaderSequence + " " + protocol.HeaderForwarded:                                                 "Golive-Sequence Golive-Forwarded",
		protocol.HeaderRetryAfter + " " + protocol.HeaderTraceparent:                                             "Golive-Retry-After traceparent",
		protocol.HeaderReason + " " + protocol.ReasonMaintenance + " " + protocol.ReasonNoVersion:                "Golive-Reason maintenance no-version",
		protocol.HeaderError + " " + protocol.HeaderErrorCode:                                                    "Nats-Service-Error Nats-Service-Error-Code",
		protocol.HeaderStatus + " " + protocol.HeaderTTL:                                                         "Status Nats-TTL",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestDifferentVersionsHaveDifferentAddresses(t *testing.T) {
	version := make(map[string]string) // by address
	for _, v := range nastyVersions {
		encoded := protocol.EncodeVersion(v)
		if other, taken := version[encoded]; taken {
			t.Errorf("%s and %s are both written %s", v, other, encoded)
		}
		version[encoded] = v
	}
}

// The parts of a key may be any text: whoever cuts the same bytes in another place means
// another record.
func TestDifferentRecordsHaveDifferentKeys(t *testing.T) {
	parts := []string{"", "a", "b", "c", "a\x00b", "b\x00c", "\x00", "1:a", "a1:b", "1:", ":", "1", "0:", "a.b", "ä"}
	record := make(map[string][3]string) // by key
	for _, backfill := range parts {
		for _, partition := range parts {
			for _, cursor := range parts {
				key := protocol.FailedRecordKey(rollout, "todo-search/offline", false, backfill, partition, cursor)
				if other, taken := record[key]; taken {
					t.Errorf("%q and %q have the same key", other, [3]string{backfill, partition, cursor})
				}
				record[key] = [3]string{backfill, partition, cursor}
			}
		}
	}
}

// As the page says it: SHA-256 of "0:1:a4:4711".
func TestTheKeyOfARecord(t *testing.T) {
	sum := sha256.Sum256([]byte("0:1:a4:4711"))
	want := rollout + ".todo-search.offline.revert." + hex.EncodeToString(sum[:16])
	if got := protocol.FailedRecordKey(rollout, "todo-search/offline", true, "", "a", "4711"); got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}

func TestAnswerSubjectsAreTakenApartAgain(t *testing.T) {
	for _, revert := range []bool{false, true} {
		for _, number := range []int{1, 2, 10, 4711} {
			subject := protocol.AnswerSubject(rollout, number, number+1, revert)
			id, step, attempt, back, ok := protocol.ParseAnswerSubject(subject)
			if id != rollout || step != number || attempt != number+1 || back != revert || !ok {
				t.Errorf("%s: %s %d %d %t %t", subject, id, step, attempt, back, ok)
			}
		}
	}
}

func TestWhatIsNoAnswerSubjectIsNotTakenApart(t *testing.T) {
	for _, subject := range []string{
		"", "golive.answer", "golive.answer.r.1.1", "golive.answer.r.1.1.do.x", "golive.answers.r.1.1.do",
		"live.answer.r.1.1.do", "golive.answer..1.1.do", "golive.answer.r.x.1.do", "golive.answer.r.1.x.do",
		"golive.answer.r.0.1.do", "golive.answer.r.1.0.do", "golive.answer.r.-1.1.do", "golive.answer.r.+1.1.do",
		"golive.answer.r.01.1.do", "golive.answer.r.1.1.undo", "golive.answer.r.1.1.", "golive.answer.r.99999999999999999999.1.do",
	} {
		id, step, attempt, revert, ok := protocol.ParseAnswerSubject(subject)
		if ok || id != "" || step != 0 || attempt != 0 || revert {
			t.Errorf("%q: %q %d %d %t %t", subject, id, step, attempt, revert, ok)
		}
	}
}

func TestConfirmAndDueSubjectsAreTakenApartAgain(t *testing.T) {
	service, instance, ok := protocol.ParseConfirmSubject(protocol.ConfirmSubject("todo-search", "0123"))
	if service != "todo-search" || instance != "0123" || !ok {
		t.Errorf("confirm: %q %q %t", service, instance, ok)
	}
	app, id, ok := protocol.ParseDueSubject(protocol.DueSubject("todo-app", rollout))
	if app != "todo-app" || id != rollout || !ok {
		t.Errorf("due: %q %q %t", app, id, ok)
	}
	for _, subject := range []string{"", "golive", "golive.confirm.a", "golive.confirm.a.b.c", "golive.confirm..b", "golive.confirm.a.", "golive.due.a.b", "golive.confirmed.a.b"} {
		if a, b, ok := protocol.ParseConfirmSubject(subject); ok || a != "" || b != "" {
			t.Errorf("confirm: %q: %q %q %t", subject, a, b, ok)
		}
	}
	for _, subject := range []string{"", "golive", "golive.due.a", "golive.due.a.b.c", "golive.due..b", "golive.due.a.", "golive.confirm.a.b", "live.due.a.b"} {
		if a, b, ok := protocol.ParseDueSubject(subject); ok || a != "" || b != "" {
			t.Errorf("due: %q: %q %q %t", subject, a, b, ok)
		}
	}
}

func TestLeaseKeysAreTakenApartAgain(t *testing.T) {
	service, version, instance, ok := protocol.ParseLeaseKey(protocol.LeaseKey("todo-search", "1.0.0-rc.1", "0123"))
	if service != "todo-search" || version != "1_0_0-rc_1" || instance != "0123" || !ok {
		t.Errorf("%q %q %q %t", service, version, instance, ok)
	}
	for _, key := range []string{"", "todos", "todos.0_0_1", "todos.0_0_1.a.b", ".0_0_1.a", "todos..a", "todos.0_0_1."} {
		if service, version, instance, ok := protocol.ParseLeaseKey(key); ok || service+version+instance != "" {
			t.Errorf("%q: %q %q %q %t", key, service, version, instance, ok)
		}
	}
}

func FuzzParseAnswerSubject(f *testing.F) {
	f.Add(protocol.AnswerSubject(rollout, 1, 1, false))
	f.Add(protocol.AnswerSubject(rollout, 2, 3, true))
	f.Add("golive.answer.r.01.1.do")
	f.Fuzz(func(t *testing.T, subject string) {
		id, step, attempt, revert, ok := protocol.ParseAnswerSubject(subject)
		if ok && protocol.AnswerSubject(id, step, attempt, revert) != subject {
			t.Errorf("%q was taken for %q %d %d %t", subject, id, step, attempt, revert)
		}
	})
}
