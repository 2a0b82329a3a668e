Feature: rehearsing a release on a copy of an environment's data

  As somebody who is to bring a new version live
  I want to try it on what is there, on my machine, as often as it takes
  So that what cannot go well shows itself before the night, and nothing of it is felt there.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | state               |
      | search  | 1.0.0   | offline | {streams: [ORDERS]} |
    And the manifest of the app shop also says:
      """
      snapshot: never
      """
    And the stream ORDERS holds 500 messages
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And the folder of the app shop is copied to was
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | state               |
      | search  | 2.0.0   | offline, online | {streams: [ORDERS]} |

  Scenario: a release is rehearsed, and nothing has changed
    Given the manifest of the app shop also says:
      """
      approvals: {by: [ann, bob], count: 2}
      """
    And the release of the app shop goes through these steps:
      """
      - {name: mail, shell: "echo to everybody"}
      - {name: index, shell: "echo the index is made anew in $HOME", rehearse: true}
      - {phase: offline}
      - {name: go-ahead, approval: Go on?, checklist: [the backup is fresh]}
      - {phase: online}
      """
    And the online script of search 2.0.0 deals with 500 items, "reindexed"
    And I have run "golive snapshot take shop"
    And I remember all that is kept in the environment
    When I run "golive rehearse shop --snapshot 0 --from was --tell=false" with secrets in my shell
    Then it ends with code 0
    And the story tells "search 1.0.0 | info route …"
    And the story tells "✓ the plan is the one of the environment: …"
    And the story tells "✓ approval go-ahead is answered by the rehearsal itself: in the environment it waits for people"
    And the story does not tell "mail | to everybody"
    And the story tells "index | the index is made anew in …"
    And the answer holds these lines:
      """
      Rehearsal of shop 2.0.0 on snapshot <id> of 1.0.0, in <duration>: completed
      not rehearsed: the command of step mail
      The environment: none of its streams was written to meanwhile.
      """
    And all that is kept in the environment is as it was, byte for byte
    And nothing of a rehearsal is left
    And search answers as version 1.0.0

  Scenario: no program of a rehearsal knows the environment, and Ctrl-C leaves nothing
    Given the offline script of search 2.0.0 takes until I say so
    When I start "golive rehearse shop" with secrets in my shell
    And the offline script of search 2.0.0 has begun
    Then no program of the rehearsal, and no file of it, knows the environment or my secrets
    When I press Ctrl-C
    Then it ends with code 4
    And nothing of a rehearsal is left

  @long
  Scenario: what a killed rehearsal has left is removed by the next one
    Given the offline script of search 2.0.0 takes until I say so
    When I start "golive rehearse shop -- sleep 1000" with secrets in my shell
    And the offline script of search 2.0.0 has begun
    And golive gets SIGKILL
    Then it is gone
    And the data of a rehearsal is left
    Given the offline script of search 2.0.0 fails with "no space for the index"
    When I run "golive rehearse shop" with secrets in my shell
    Then it ends with code 1
    And the story tells "▪ removed what a rehearsal has left that was killed: …"
    And I am told this and more:
      """
      golive: error: in the rehearsal, …
      golive: hint: nothing has changed in the environment; mend it, and rehearse again
      """
    And nothing of a rehearsal is left
    And search answers as version 1.0.0

  @long
  Scenario: it is told how long a deploy would be offline
    Given the app shop goes live with the strategy downtime
    And the offline script of search 2.0.0 takes until I say so
    When I start "golive rehearse shop" with secrets in my shell
    And the offline script of search 2.0.0 has begun
    And I let the offline script of search 2.0.0 end
    Then it ends with code 0
    And the answer holds these lines:
      """
      In the environment: offline about <duration>, at this machine's rates and with as many records as in the snapshot.
      not rehearsed: the handing over from instances of 1.0.0, none of which ran: name their folder with --from
      """

  @long
  Scenario: an environment wants a rehearsal, and is told of it
    Given the app shop goes live with the strategy downtime
    And the manifest of the app shop also says:
      """
      approvals: {rehearsed: 24h}
      """
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: the environment takes only what has passed a rehearsal within 24h (approvals.rehearsed), and this very release of shop 2.0.0 has passed none
      golive: hint: golive rehearse, with the same DIR, --commit and --env; then deploy again
      """
    When I run "golive rehearse shop --tell=false" with secrets in my shell
    Then it ends with code 0
    When I run "golive deploy shop"
    Then it ends with code 1
    When I run "golive rehearse shop" with secrets in my shell
    Then it ends with code 0
    When I run "golive plan shop"
    Then it ends with code 3
    And the answer holds these lines:
      """
      1     │ …
      rehearsed: … on snapshot <id>, offline about <duration>
      """
    When I run "golive deploy shop"
    Then it ends with code 0

  @long
  Scenario: a release whose check fails in the rehearsal is not taken
    Given the manifest of the app shop also says:
      """
      approvals: {rehearsed: 24h}
      """
    And the release of the app shop goes through these steps:
      """
      - {phase: offline}
      - {phase: online}
      - {name: smoke, check: {shell: "echo 3 are missing; exit 1"}}
      """
    When I run "golive rehearse shop" with secrets in my shell
    Then it ends with code 1
    And the answer holds "check failed: smoke: …"
    When I run "golive plan shop"
    Then the answer holds "rehearsed: … on snapshot <id>: it has failed"
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: the environment takes only what has passed a rehearsal within 24h (approvals.rehearsed), and this very release of shop 2.0.0 has failed in the last one, … ago
      golive: hint: mend it, and rehearse again: golive rehearse
      """

  @long
  Scenario: two rehearsals at once do not disturb each other
    When I start "golive rehearse shop" with secrets in my shell
    And I run "golive test deploy shop" with secrets in my shell
    Then it ends with code 0
    And the one that was started before ends with code 0
    And nothing of a rehearsal is left

  @long
  Scenario: a snapshot since which scripts have run is refused
    Given I have run "golive snapshot take shop"
    And the manifest of the app shop also says:
      """
      snapshot: never
      """
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    When I run "golive rehearse shop --snapshot 0" with secrets in my shell
    Then it ends with code 1
    And I am told:
      """
      golive: error: snapshot <id> is older than what is live: …; search 2.0.0 offline has run since; search 2.0.0 online has run since
      golive: hint: rehearse without --snapshot: that takes one of what is live
      """
    And nothing of a rehearsal is left

  Scenario: it is said what is not known when the environment cannot be reached any more
    Given the offline script of search 2.0.0 takes until I say so
    When I start "golive rehearse shop" with secrets in my shell
    And the offline script of search 2.0.0 has begun
    And the bus goes away
    And I let the offline script of search 2.0.0 end
    Then it ends with code 0
    And the story tells "! it is not known whether anything was written in the environment meanwhile: …"
    And the answer holds "The environment: it is not known whether its streams were written to meanwhile."
    And nothing of a rehearsal is left

  Scenario: the folder of the version before is looked at before a snapshot is taken
    When I run "golive rehearse shop --from shop" with secrets in my shell
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: --from is the folder of shop 2.0.0, and 1.0.0 is live
      golive: hint: name the folder of the version that is live: golive status
      """
    And nothing of a rehearsal is left
    When I run "golive snapshot list shop"
    Then the answer is:
      """
      There is no snapshot here yet.
      """

  @long
  Scenario: what is in a commit, and nothing else, is rehearsed
    Given the folder of the app shop is committed to git, with the tag v2
    And the manifest of the app shop is:
      """
      this is no manifest any more
      """
    When I run "golive rehearse shop --commit v2" with secrets in my shell
    Then it ends with code 0
    And the answer holds these lines:
      """
      Rehearsal of shop 2.0.0 on snapshot <id> of 1.0.0, in <duration>: completed
      source: commit … (v2)
      """
    And nothing of a rehearsal is left

  @long
  Scenario: a drill goes back and forward again, and compares the data
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | reverts         | state               |
      | search  | 2.0.0   | offline, online | offline, online | {streams: [ORDERS]} |
    And the offline script of search 2.0.0 stores the message ORDERS.new
    And the offline revert script of search 2.0.0 removes the messages ORDERS.new
    When I run "golive rehearse shop --drill --from was" with secrets in my shell
    Then it ends with code 0
    And the story tells "* the drill: back to 1.0.0, and forward again"
    And the answer holds these lines:
      """
      Drill: back in <duration>: the data is what it was before (…).
      Drill: forward again in <duration>: the data is what it was after (…).
      The environment: none of its streams was written to meanwhile.
      """
    When I run "golive plan shop"
    Then the answer holds "rehearsed: … on snapshot <id>, with a drill, no downtime"

  @long
  Scenario: what a revert script leaves behind shows itself in the drill
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | reverts         | state               |
      | search  | 2.0.0   | offline, online | offline, online | {streams: [ORDERS]} |
    And the offline script of search 2.0.0 stores the message ORDERS.new
    When I run "golive rehearse shop --drill" with secrets in my shell
    Then it ends with code 1
    And the answer holds these lines:
      """
      Drill: back in <duration>, and the data is not what it was before:
      stream ORDERS: a message is new, from sequence 501 (ORDERS.new) on
      Drill: forward again in <duration>, and the data is not what it was after:
      stream ORDERS: a message is new, from sequence 502 (ORDERS.new) on
      """
    And I am told this and more:
      """
      golive: error: in the drill, what it does is not undone by going back: stream ORDERS: a message is new, from sequence 501 (ORDERS.new) on
      golive: hint: nothing has changed in the environment; mend it, and rehearse again
      """
    And nothing of a rehearsal is left

  @long
  Scenario: a drill says what cannot be undone
    When I run "golive rehearse shop --drill" with secrets in my shell
    Then it ends with code 0
    And the answer holds "Drill: what it does cannot be undone: nobody listens to the revert of …"
    And nothing of a rehearsal is left

  Scenario: only some of the data is copied, and what is personal is masked
    Given the manifest of the app shop also says:
      """
      mask: {ORDERS: {order: digits, "#2": digits}}
      """
    When I run "golive rehearse shop --latest 2 --where ORDERS.*" with secrets in my shell
    Then it ends with code 0
    And the story tells "✓ put back 14 messages in <duration>"
    And the answer holds "data: the newest 2 of each subject; only ORDERS.*; masked in ORDERS"
    And nothing of a rehearsal is left
    When I run "golive snapshot list shop -o json"
    Then the answer holds ""for": "rehearsal","

  @long
  Scenario: what cannot be masked is not handed out
    Given the manifest of the app shop also says:
      """
      mask: {ORDERS: {order: mail}}
      """
    When I run "golive rehearse shop" with secrets in my shell
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: copy stream ORDERS of service search: … it cannot be masked: refused: field "order": it is a number, which cannot be mail: mark it as digits
      """
    And nothing of a rehearsal is left

  @long
  Scenario: it is told what callers would have seen
    Given the app shop goes live with the strategy downtime
    And the file requests of the app shop is:
      """
      {"message": "search.version", "every": "10ms"}
      """
    When I run "golive rehearse shop --from was --load shop/requests -- sleep 100" with secrets in my shell
    Then it ends with code 0
    And the answer holds these lines:
      """
      The command ran until the rollout had ended.
      CALLERS OF  SENT  ANSWERED  MAINTENANCE  ERRORS  SLOWEST  LONGEST WITHOUT AN ANSWER
      search …
      """
    And nothing of a rehearsal is left
    When I run "golive rehearse shop --load shop/nothing" with secrets in my shell
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: --load: open <folder>/nothing: no such file or directory
      """
    When I run "golive rehearse shop --drill --load shop/requests" with secrets in my shell
    Then it ends with code 2
