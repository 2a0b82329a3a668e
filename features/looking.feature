Feature: looking at what is there

  As somebody who has brought an app live
  I want to ask, from any terminal, what is online, what has run and what has happened
  So that I know where things stand, and so that programs of mine can know it too.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         | depends on |
      | stock   | 1.0.0   |                 |            |
      | search  | 1.0.0   | offline, online | stock      |
    And the online script of search 1.0.0 deals with 12 items, "added the goods"

  Scenario: from a second terminal in the same folder
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive status"
    Then it ends with code 0
    And the answer is:
      """
      shop 1.0.0: rollout <id> completed <ago>
      SERVICE VERSION ONLINE ALIVE NOT RUN
      stock   1.0.0   1.0.0  1     -
      search  1.0.0   1.0.0  1     -
      """
    When I run "golive history"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS    BEGUN TOOK       BY
      <id>    shop 1.0.0   completed <ago> <duration> …
      """
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      rollout <id>
      shop 1.0.0, completed, begun <ago> by …, took <duration>
      # STEP           VERSION STATUS ATTEMPT TOOK       ITEMS REMARK
      1 search/offline 1.0.0   done   1       <duration> 0     -
      2 stock/traffic  1.0.0   done   1       <duration> 0     -
      3 search/traffic 1.0.0   done   1       <duration> 0     -
      4 search/online  1.0.0   done   1       <duration> 12    added the goods
      … created
      … step-done search/offline
      … opened stock/traffic
      … opened search/traffic
      … step-done search/online, rollout completed
      """
    When I run "golive routes"
    Then the answer is:
      """
      SERVICE VERSION STATE  CONFIRMED REVISION SINCE
      search  1.0.0   online 1 of 1    <number> <ago>
      stock   1.0.0   online 1 of 1    <number> <ago>
      """
    When I run "golive ledger"
    Then the answer is:
      """
      OF     VERSION PHASE   RAN   TOOK       ITEMS ROLLOUT COUNTS
      search 1.0.0   offline <ago> <duration> 0     <id>    yes
      search 1.0.0   online  <ago> <duration> 12    <id>    yes
      """
    And it ends with code 0

  @long
  Scenario: from the folder of the app, and from one that has to do with none
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive status shop" in the folder of the app shop
    Then it ends with code 0
    And the answer holds "shop 1.0.0: rollout <id> completed <ago>"
    When I run "golive --nats BUS status" in a folder that has to do with no app
    Then it ends with code 0
    And the answer holds "shop 1.0.0: rollout <id> completed <ago>"
    When I run "golive status" in a folder that has to do with no app
    Then it ends with code 1
    And there is no answer
    And I am told:
      """
      golive: error: no bus is named, and no golive up runs for this folder
      golive: hint: name one with --nats URL, or start the app: golive up DIR
      """

  @long
  Scenario: where two apps are up
    Given version 2.0.0 of the app blog, with these services:
      | service | version |
      | posts   | 2.0.0   |
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I start "golive up blog"
    Then the answer holds "blog 2.0.0 is online"
    When I run "golive status"
    Then it ends with code 1
    And I am told:
      """
      golive: error: several golive up run for this folder: nats://… (golive up of …), nats://… (golive up of …)
      golive: hint: name one with --nats URL
      """
    When I run "golive routes" in the folder of the app blog
    Then it ends with code 0
    And the answer holds "posts 2.0.0 online 1 of 1 <number> <ago>"

  @long
  Scenario: after golive up has ended
    Given I have run "golive up --once shop"
    When I run "golive status"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: no bus is named, and no golive up runs for this folder
      """

  Scenario: while a script runs
    Given the offline script of search 1.0.0 takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive status"
    Then it ends with code 0
    And the answer holds these lines:
      """
      shop 1.0.0: rollout <id> running <ago>
      running: search/offline since <ago>
      stock  1.0.0 - 1 -
      search 1.0.0 - 1 offline, online
      """
    When I run "golive status --check"
    Then it ends with code 3

  Scenario: before anything was rolled out
    Given an environment with one orchestrator
    When I run "golive status"
    Then the answer is:
      """
      No app has been rolled out here yet: golive deploy DIR
      """
    When I run "golive history"
    Then the answer is:
      """
      There has been no rollout here yet.
      """
    When I run "golive routes"
    Then the answer is:
      """
      No service has a route yet: none gets production traffic.
      """
    When I run "golive ledger"
    Then the answer is:
      """
      No script has run here yet.
      """
    And it ends with code 0

  Scenario: which golive this is
    When I run "golive version"
    Then it ends with code 0
    And the answer is:
      """
      golive … (go…, needs nats-server 2.15.3 or newer)
      """
    When I run "golive version -o json"
    Then the answer is JSON with the fields that version.txt lists
    When I run "golive version -o yaml"
    Then the answer is YAML with the fields that version.txt lists

  Scenario: answers for programs
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive status -o json"
    Then the answer is JSON with the fields that status.txt lists
    And all times in the answer are in UTC
    When I run "golive status -o yaml"
    Then the answer is YAML with the fields that status.txt lists
    When I run "golive status -o jsonl"
    Then each line of the answer is JSON with the fields that status.txt lists
    When I run "golive history -o json"
    Then the answer is JSON with the fields that history.txt lists
    And all times in the answer are in UTC
    When I run "golive history -o yaml"
    Then the answer is YAML with the fields that history.txt lists
    When I run "golive history -o jsonl"
    Then each line of the answer is JSON with the fields that history.txt lists below "rollouts[]"
    When I run "golive show ROLLOUT -o json"
    Then the answer is JSON with the fields that show.txt lists
    And all times in the answer are in UTC
    When I run "golive show ROLLOUT -o yaml"
    Then the answer is YAML with the fields that show.txt lists
    When I run "golive routes -o json"
    Then the answer is JSON with the fields that routes.txt lists
    When I run "golive routes -o yaml"
    Then the answer is YAML with the fields that routes.txt lists
    When I run "golive routes -o jsonl"
    Then each line of the answer is JSON with the fields that routes.txt lists
    When I run "golive ledger -o json"
    Then the answer is JSON with the fields that ledger.txt lists
    And all times in the answer are in UTC
    When I run "golive ledger -o yaml"
    Then the answer is YAML with the fields that ledger.txt lists
    When I run "golive ledger -o jsonl"
    Then each line of the answer is JSON with the fields that ledger.txt lists

  @long
  Scenario: for programs, all times are in UTC wherever golive runs
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive routes -o json"
    Then all times in the answer are in UTC

  @long
  Scenario: the outcome of golive up for programs
    When I run "golive up --once shop -o json"
    Then it ends with code 0
    And the answer is JSON with the fields that up.txt lists
    And the story tells "✓ shop 1.0.0 is live: completed in <duration>"

  Scenario Outline: failures for programs, as <form>
    Given an environment with one orchestrator
    When I run "golive show 0199 -o <form>"
    Then it ends with code 1
    And the answer is <read> with the fields that error.txt lists
    And the answer holds "<line>"
    And I am told:
      """
      """

    Examples:
      | form | read | line                    |
      | json | JSON | "code": "not_found",    |
      | yaml | YAML | code: not_found         |

  @long
  Scenario: a rollout that has failed, for programs
    Given the offline script of search 1.0.0 fails with "no room on the disk"
    When I run "golive up --once shop -o json"
    Then it ends with code 1
    And the answer is JSON with the fields that error.txt lists
    And the answer holds:
      """
      "code": "failed",
      "message": "rollout <id> of shop 1.0.0 has failed\nstep search/offline: failed: no room on the disk",
      """
    And the story does not tell "golive: error: …"

  Scenario: each event for programs, while following
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    When I run "golive deploy shop -o jsonl"
    Then it ends with code 0
    And the answer is:
      """
      {…"status":"running",…"event":{"type":"created",…
      {…"status":"running",…"event":{"type":"step-done",…
      {…"status":"running",…"event":{"type":"opened",…
      {…"status":"running",…"event":{"type":"opened",…
      {…"status":"completed",…"event":{"type":"step-done",…
      """

  Scenario Outline: it was typed wrongly, by a program: <line>
    When I run "<line>"
    Then it ends with code 2
    And the answer is JSON with the fields that error.txt lists
    And the answer holds:
      """
      "code": "misused",
      """

    Examples:
      | line                           |
      | golive status a b -o json      |
      | golive status -o json --colour |
      | golive -o json stauts          |
      | golive status --colour -o json |

  @long
  Scenario: there is nobody at the bus that was named
    When I run "golive --nats nats://127.0.0.1:1 status"
    Then it ends with code 1
    And there is no answer
    And I am told:
      """
      golive: error: connect to nats://127.0.0.1:1: …
      golive: hint: is a NATS server running there? name another one with --nats URL
      """

  @long
  Scenario: there is nobody at the bus that the environment names
    When I run "golive status" with GOLIVE_NATS_URL=nats://127.0.0.1:1
    Then it ends with code 1
    And I am told:
      """
      golive: error: connect to nats://127.0.0.1:1: … (nobody answered within 5s)
      golive: hint: is a NATS server running there? GOLIVE_NATS_URL names it: unset it, or name another one with --nats URL
      """

  Scenario: there is a bus but no orchestrator
    Given an environment with a bus
    When I run "golive status"
    Then it ends with code 1
    And I am told:
      """
      golive: error: no orchestrator answers on this bus
      golive: hint: start one: golive serve, or golive up in the folder of an app
      """

  Scenario Outline: it was typed wrongly: <line>
    When I run "<line>"
    Then it ends with code 2
    And there is no answer
    And I am told:
      """
      golive: error: <error>
      golive: hint: see <help> --help
      """

    Examples:
      | line                     | error                                                     | help           |
      | golive stauts            | unknown command "stauts" for "golive"                     | golive         |
      | golive status --colour   | unknown flag: --colour                                    | golive status  |
      | golive up a b            | golive up takes at most one folder, not 2 arguments       | golive up      |
      | golive status a b        | golive status takes at most one app, not 2 arguments      | golive status  |
      | golive routes a          | golive routes takes no arguments, not 1 arguments         | golive routes  |
      | golive show              | golive show needs the id of a rollout, or its beginning   | golive show    |
      | golive status -o xml     | unknown output "xml": valid are table, json, yaml, jsonl  | golive status  |
      | golive deploy --wait -1s | --wait must not be negative                               | golive deploy  |
      | golive serve --replicas 9 | --replicas is 9, it must be from 1 to 5                  | golive serve   |

  Scenario Outline: it was typed wrongly, by a program: <line>
    When I run "<line>"
    Then it ends with code 2
    And the answer is JSON with the fields that error.txt lists

    Examples:
      | line                            |
      | golive stauts -o json           |
      | golive status --colour -o=json  |
      | golive up --seed many -ojson    |
