Feature: what only a person can decide

  As somebody who answers for what goes live
  I want a rollout to wait for my yes, and for that of those who must be asked as well
  So that nothing happens that nobody wanted, and each can read later who wanted it.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |

  Scenario: nothing runs before the approval, and its checklist is confirmed item by item
    Given the release of the app shop goes through these steps:
      """
      - name: go-ahead
        approval: |
          Shall it go live?
          Say yes only at night.
        checklist: [support is told, nobody is in the middle of an order]
      - {name: backup, command: the program backup}
      - {phase: online}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop"
    Then it ends with code 5
    And there is no answer
    And the story tells, in this order:
      """
      ? go-ahead: waits for somebody to approve: Shall it go live? Say yes only at night.
      1. support is told
      2. nobody is in the middle of an order
      golive: error: rollout <id> of shop 1.0.0 waits for a person: go-ahead: somebody to approve: Shall it go live? Say yes only at night. (0 of 2 items confirmed, 0 of 1 have approved, anybody may)
      golive: hint: answer with: golive approve <id> go-ahead
      golive: hint: or with: golive reject <id> go-ahead
      golive: hint: the rollout goes on then by itself: golive watch <id>
      """
    When I run "golive status"
    Then the answer holds these lines:
      """
      shop 1.0.0: rollout <id> waiting <ago>
      waits for …
      answer with: golive approve <id> go-ahead
      """
    When I run "golive approve ROLLOUT"
    Then it ends with code 2
    And I am told:
      """
      golive: error: the checklist of go-ahead of rollout <id> is not confirmed
      golive: error: item 1: support is told
      golive: error: item 2: nobody is in the middle of an order
      golive: hint: confirm one: golive approve <id> go-ahead --item 1
      golive: hint: confirm all, and approve: golive approve <id> go-ahead --yes
      """
    When I run "golive approve ROLLOUT --item 2 --reason looked"
    Then it ends with code 0
    And the answer is:
      """
      go-ahead of rollout <id> still waits: 1 of 2 items confirmed, 0 of 1 have approved, anybody may
      """
    And no program was called
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      go-ahead - ☐ not confirmed 1: support is told - -
      go-ahead … ☑ confirmed 2: nobody is in the middle of an order <ago> looked
      """
    When I run "golive approve ROLLOUT go-ahead --yes"
    Then it ends with code 0
    And the answer is:
      """
      go-ahead of rollout <id> is approved by …: the rollout goes on
      """
    And the rollout of shop 1.0.0 completes
    And these programs were called, in this order:
      | program | with    |
      | backup  | forward |
    When I run "golive approve ROLLOUT"
    Then it ends with code 1
    And I am told:
      """
      golive: error: …
      golive: hint: …
      """

  Scenario: a no with its reason, and asked again
    Given the release of the app shop goes through these steps:
      """
      - {name: go-ahead, approval: Shall it go live?}
      - {phase: online}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    And I run "golive reject ROLLOUT --reason it-is-Friday"
    Then it ends with code 0
    And the answer is:
      """
      go-ahead of rollout <id> is rejected
      The rollout has failed. To ask again: golive retry <id>; to end it: golive abort <id>
      """
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      shop 1.0.0, failed, begun <ago> by …, took <duration>
      1 go-ahead 1.0.0 failed 1 <duration> 0 …it-is-Friday
      go-ahead … ✗ rejected <ago> it-is-Friday
      """
    When I start "golive retry ROLLOUT --reason it-is-Monday"
    Then the story tells "? go-ahead: waits for somebody to approve: Shall it go live? (attempt 2)"
    When I run "golive approve ROLLOUT" beside it
    Then the rollout of shop 1.0.0 completes
    And search answers as version 1.0.0

  Scenario: who may is the business of the environment, and of its bus
    Given a bus with the users ann, bob, cy, dan
    And the manifest of the app rules is:
      """
      app: shop
      version: 0.0.0
      environments:
        production:
          approvals: {required: true, by: [ann, bob, dan], count: 2, notStarter: true}
      """
    And an orchestrator is started as "golive serve --env production rules"
    And the manifest of the app shop also says:
      """
      approvals: {by: [cy], count: 1}
      """
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When ann runs "golive plan shop"
    Then it ends with code 5
    And the answer holds "1 │ approval ask 2 of ann, bob, dan, not who has started it: Shall shop 1.0.0 go live? - -"
    When ann runs "golive deploy shop"
    Then it ends with code 5
    And the story tells "? approval: waits for 2 people, of ann, bob, dan, to approve: Shall shop 1.0.0 go live?"
    When cy runs "golive approve ROLLOUT"
    Then it ends with code 1
    And I am told:
      """
      golive: error: cy may not answer approval, that is for ann, bob, dan
      golive: hint: golive show … tells who may
      """
    And cy asks golive in the name of bob to approve the rollout, and is refused
    And the bus does not let cy ask golive as bob
    When ann runs "golive approve ROLLOUT"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: ann has started the rollout, somebody else has to answer approval
      """
    When bob runs "golive approve ROLLOUT --reason looked"
    Then it ends with code 0
    And the answer is:
      """
      approval of rollout <id> still waits: 1 of 2 have approved, dan may
      """
    When bob runs "golive approve ROLLOUT"
    Then the answer is:
      """
      approval of rollout <id> still waits: 1 of 2 have approved, dan may
      """
    When dan runs "golive approve ROLLOUT"
    Then it ends with code 0
    And the answer is:
      """
      approval of rollout <id> is approved by bob (looked) and dan: the rollout goes on
      """
    And the rollout of shop 1.0.0 completes
    When I run "golive history"
    Then the answer holds "<id> shop 1.0.0 completed <ago> <duration> ann"

  @long
  Scenario: somebody is reminded, and the wait survives the death of the orchestrator
    Given the release of the app shop goes through these steps:
      """
      - {name: go-ahead, approval: Shall it go live?, deadline: 1s}
      - {phase: online}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    And I start "golive watch"
    Then the story tells "* rollout <id>: shop 1.0.0, 2 steps"
    When the first orchestrator is killed with SIGKILL
    And another orchestrator is started
    Then the story tells "! go-ahead still waits, since <duration>, for somebody to approve: Shall it go live?"
    When I run "golive approve ROLLOUT --reason sorry-I-slept" beside it
    Then it ends with code 0
    And the story tells, in this order:
      """
      ✓ go-ahead: approved by … (sorry-I-slept) (<duration>)
      ✓ search 1.0.0 is online, confirmed by 1 instance (<duration>)
      """
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      <date> go-ahead still waits for an answer
      <date> go-ahead is approved by …: sorry-I-slept
      """

  Scenario: golive up asks in the terminal
    Given the release of the app shop goes through these steps:
      """
      - {name: go-ahead, approval: Shall it go live?, checklist: [support is told]}
      - {phase: online}
      """
    When I start "golive up --once shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      ? go-ahead: waits for somebody to approve: Shall it go live?
      1. support is told
      go-ahead, item 1 of 1: support is told
      …go-ahead? [y = confirm, n = reject, l = leave it to others]…
      """
    When I type "y"
    Then the terminal shows, in this order:
      """
      * item 1 of go-ahead is confirmed (support is told) by …
      …go-ahead? [y = approve, n = reject, l = leave it to others]…
      """
    When I type "n"
    Then the terminal shows, in this order:
      """
      …why?…
      """
    When I type "support is on holiday"
    Then it ends with code 1
    And the terminal shows, in this order:
      """
      ✗ go-ahead: rejected by …: support is on holiday (<duration>)
      golive: hint: …
      """
    When I run "golive up --once shop"
    Then it ends with code 5
    And I am told this and more:
      """
      golive: error: rollout <id> of shop 1.0.0 waits for a person: go-ahead: …
      golive: hint: golive up without --once goes on with the rollout, and is there while it is answered
      golive: hint: answer with: golive approve <id> go-ahead
      golive: hint: or with: golive reject <id> go-ahead
      """
    When I start "golive up --once shop" on a terminal of 100 columns
    And I type "y"
    Then the terminal shows, in this order:
      """
      …go-ahead? [y = approve, n = reject, l = leave it to others]…
      """
    When I type "y"
    Then it ends with code 0
    And the terminal shows, in this order:
      """
      …✓ go-ahead: approved by … (<duration>)
      …✓ shop 1.0.0 is live: completed in <duration>
      """

  Scenario: golive deploy asks in the terminal, and lets go when somebody else answers
    Given the release of the app shop goes through these steps:
      """
      - {name: go-ahead, approval: Shall it go live?}
      - {phase: online}
      - {name: enough, approval: Is everybody content?}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      …go-ahead? [y = approve, n = reject, l = leave it to others]…
      """
    When I run "golive approve ROLLOUT --reason from-the-train" beside it
    Then the terminal shows, in this order:
      """
      …✓ go-ahead: approved by … (from-the-train) (<duration>)
      …✓ search 1.0.0 is online, confirmed by 1 instance (<duration>)
      …enough? [y = approve, n = reject, l = leave it to others]…
      """
    When I type "l"
    Then the terminal shows, in this order:
      """
      answer later with: golive approve <id> enough
      """
    When I run "golive approve ROLLOUT enough" beside it
    Then it ends with code 0
    And the terminal shows, in this order:
      """
      ✓ shop 1.0.0 is live: completed in <duration>
      """
