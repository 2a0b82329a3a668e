Feature: scripts that work through many records

  As somebody who fills a new service with what is already there
  I want to see how far that is, to slow it down, and to deal later with what would not go
  So that millions of records move beside the traffic, and none is lost on the way.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | its setup service     |
      | search  | 1.0.0   | online  | works through records |

  @long
  Scenario: the bar on a terminal
    Given the online script of search 1.0.0 works through 500 of 1204 records, 100 a second, and then takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      * rollout <id>: shop 1.0.0, 2 steps
      → deployment-search-1.0.0-online-start
      ▶ search/online  running  […█…░…] …%  <number> of 1204  <duration> left
      …/s now, …/s on average, limit 100/s
      ▶ search/online  running  [████…░░░░…]  41%  500 of 1204  …
      """
    When I let the online script of search 1.0.0 end
    Then it ends with code 0
    And the terminal shows, in this order:
      """
      ← deployment-search-1.0.0-online-done (<duration>, 500 items, …/s on average, the source counted 1204 records and gave 500)
      ✓ shop 1.0.0 is live: completed in <duration>
      shop 1.0.0 is live (rollout <id>)
      """

  @long
  Scenario Outline: lines instead of bars, with <setting>
    Given the online script of search 1.0.0 works through 5000 records, 400 a second
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns, with <setting>
    Then the story tells "… state=running step=search/online done=<number> total=5000 rate=…/s average=…/s eta=<duration> limit=400/s for=<duration>"
    And it ends with code 0
    And no line is drawn anew

    Examples:
      | setting    |
      | NO_COLOR=1 |
      | TERM=dumb  |

  @long
  Scenario: it is throttled, and says why
    Given the online script of search 1.0.0 works through 60 records, 12 a second, and is soon held by "replica lag 12 s" until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      ▼ search/online  throttled  […█…░…] …%  <number> of 60  …
      …limit 12/s, throttled: replica lag 12 s
      """
    When I run "golive status" beside it
    And I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds "2 search/online … running 1 - <number> <number> of 60 done, …throttled: replica lag 12 s"
    When I run "golive status"
    Then the answer holds "running: search/online since <ago>, <number> of 60 done, …throttled: replica lag 12 s"
    When I let the online script of search 1.0.0 end
    And I go back to where I had started "golive deploy shop"
    Then it ends with code 0

  Scenario: it is paused between two batches, and the bar says so
    Given the online script of search 1.0.0 works through 100000 records, 200 a second
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      ▶ search/online  running  […░…]  …%  <number> of 100,000  …
      …/s now, …/s on average, limit 200/s
      """
    When I run "golive pause ROLLOUT-OF-1.0.0 --reason lunch" beside it
    Then the terminal shows, in this order:
      """
      * the rollout is paused by …: lunch
      ‖ search/online  paused  […░…]  …%  <number> of 100,000  for <duration>
      …/s on average, limit 200/s, paused by …: lunch
      """
    When I run "golive resume ROLLOUT-OF-1.0.0" beside it
    Then the terminal shows, in this order:
      """
      * the rollout goes on, resumed by …
      ▶ search/online  running  […░…]  …%  <number> of 100,000  <duration> left
      """
    When I run "golive abort ROLLOUT-OF-1.0.0"
    Then it ends with code 0

  @long
  Scenario: its setup service is killed, and another one goes on where it was
    Given the online script of search 1.0.0 works through 2000 records, 400 a second
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      ▶ search/online  running  [█…░…]  …%  <number> of 2000  …
      """
    When the setup service that runs the online script of search 1.0.0 is killed with SIGKILL
    Then the terminal shows, in this order:
      """
      …/s on average, limit 400/s, no sign of life for <duration>
      """
    When somebody starts the programs of the app shop
    Then the terminal shows, in this order:
      """
      ✗ deployment-search-1.0.0-online-failed: lost: no sign of life, and its lease has run out: the worker is taken for dead: attempt 2 at once
      → deployment-search-1.0.0-online-start (attempt 2)
      search/online | goes on behind todo <number>
      ▶ search/online  running  [█…░…]  …%  <number> of 2000  …
      ← deployment-search-1.0.0-online-done (<duration>, 2000 items, …/s on average)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And it ends with code 0

  Scenario Outline: a check does not hold <when> the work
    Given the online script of search 1.0.0 works through 120 records, and at first a check <when> them says "119 and 120 are not equal"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ deployment-search-1.0.0-online-failed (<duration>): failed: backfill: check "todos <when>": 119 and 120 are not equal
      ✗ shop 1.0.0 is not live: the rollout has failed after <duration>
      golive: error: rollout <id> of shop 1.0.0 has failed
      golive: error: step search/online: failed: backfill: check "todos <when>": 119 and 120 are not equal
      golive: hint: correct the cause, then: golive retry <id>
      """
    When I run "golive retry ROLLOUT-OF-1.0.0"
    Then it ends with code 0
    And the story tells "← deployment-search-1.0.0-online-done (<duration>, 120 items)"

    Examples:
      | when   |
      | before |
      | after  |

  @long
  Scenario: watching from elsewhere
    Given the online script of search 1.0.0 works through 60 records, 12 a second, and is soon held by "replica lag 12 s" until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the online script of search 1.0.0 has begun
    And I start "golive watch"
    Then the story tells "* rollout <id>: shop 1.0.0, 2 steps"
    And the story tells "… state=running step=search/online done=<number> total=60 …held="throttled: replica lag 12 s" for=<duration>"
    When I let the online script of search 1.0.0 end
    Then it ends with code 0
    And the answer holds "shop 1.0.0 is live (rollout <id>)"
    When I run "golive watch"
    Then it ends with code 0
    And there is no answer
    And I am told:
      """
      * no rollout is under way
      """
    When I run "golive watch ROLLOUT-OF-1.0.0"
    Then it ends with code 0
    And the answer holds "shop 1.0.0 is live (rollout <id>)"

  @long
  Scenario: for programs
    Given the online script of search 1.0.0 works through 600 records, 200 a second
    And somebody starts the programs of the app shop
    When I run "golive deploy shop -o jsonl"
    Then it ends with code 0
    And the answer holds these lines:
      """
      {…"event":{"type":"created",…
      {…"event":{"type":"opened",…
      {"progress":{"rollout":"<id>","step":"search/online","attempt":1,"state":"running","at":"<time>","started":"<time>","done":<number>,"total":600,"rate":…,"average":…,"limit":200…
      {"progress":{…
      {…"status":"completed",…"event":{"type":"step-done",…
      """

  Scenario: slower, and faster again, while it runs
    Given the online script of search 1.0.0 works through 1000000 records, 200 a second
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | its setup service     | records a second |
      | search  | 1.0.0   | online  | works through records | 150              |
    And somebody starts the programs of the app shop
    When I start "golive deploy shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      …/s now, …/s on average, limit 150/s
      """
    When I run "golive pace ROLLOUT-OF-1.0.0 search/online --rate 50 --reason noon" beside it
    Then the terminal shows, in this order:
      """
      * search/online works at most 50/s by …: noon
      …/s now, …/s on average, limit 50/s
      """
    When I run "golive pace ROLLOUT-OF-1.0.0 --rate 0 --in-flight 4"
    Then it ends with code 0
    And the answer is:
      """
      step search/online of rollout <id> works as fast as it can, 4 batches at the same time
      """
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds these lines:
      """
      2 search/online 1.0.0 running 1 - <number> <number> of 1,000,000 done, 0%, …works as fast as it can, 4 batches at the same time
      <date> search/online works at most 50/s by …: noon
      """
    When I run "golive pace ROLLOUT-OF-1.0.0 search/online --rate 75.5 -o json"
    Then the answer holds:
      """
      "rate": 75.5,
      "inFlight": 4
      """
    When I run "golive abort ROLLOUT-OF-1.0.0"
    Then it ends with code 0

  Scenario Outline: a pace that cannot be: <line>
    When I run "<line>"
    Then it ends with code 2
    And I am told:
      """
      golive: error: <error>
      golive: hint: see golive pace --help
      """

    Examples:
      | line                            | error                                                |
      | golive pace 0199                | golive pace needs --rate or --in-flight              |
      | golive pace 0199 --rate -1      | --rate must be records a second, or 0 for no limit   |
      | golive pace 0199 --rate fast    | invalid argument "fast" for "--rate" flag: invalid syntax |
      | golive pace 0199 --in-flight 0  | --in-flight must be from 1 to 1024                   |
      | golive pace 0199 --in-flight 1025 | --in-flight must be from 1 to 1024                 |

  Scenario: records are put aside, looked at and tried again
    Given the online script of search 1.0.0 works through 120 records and puts aside 103 of them with "no such todo", then 1, then 0
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ← deployment-search-1.0.0-online-done (<duration>, 17 items…, 103 put aside)
      ✓ shop 1.0.0 is live: completed in <duration>
      ! 103 records were put aside: golive show <id> --failed-records
      """
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds these lines:
      """
      2 search/online 1.0.0 done 1 <duration> 17 103 put aside
      103 records were put aside: golive show <id> --failed-records
      """
    When I run "golive ledger"
    Then the answer holds "search 1.0.0 online <ago> <duration> 17, 103 put aside <id> yes"
    When I run "golive show ROLLOUT-OF-1.0.0 --failed-records"
    Then it ends with code 0
    And the answer holds these lines:
      """
      STEP CURSOR TRIES PUT ASIDE ERROR RECORD
      search/online <number> <number> <ago> no such todo {"id":<number>,"title":"todo <number>"}
      There are more. All of them, in full: golive show <id> --failed-records -o jsonl
      To have them tried again: golive retry <id> --failed-records
      """
    When I run "golive show ROLLOUT-OF-1.0.0 --failed-records --step search/online -o jsonl"
    Then there are 103 lines, each of them JSON with the fields that record.txt lists
    When I run "golive show ROLLOUT-OF-1.0.0 --failed-records -o json"
    Then the answer is JSON with the fields that records.txt lists
    And all times in the answer are in UTC
    When I run "golive retry ROLLOUT-OF-1.0.0 search/online --failed-records --reason corrected"
    Then it ends with code 1
    And the story tells, in this order:
      """
      * the records that search/online has put aside are tried again by …: corrected
      → deployment-search-1.0.0-online-start (attempt 2)
      ← deployment-search-1.0.0-online-done (<duration>, 119 items…, 1 put aside)
      ! rollout <id>: 1 record was put aside: golive show <id> --failed-records
      golive: error: 1 record is still put aside
      golive: hint: golive show <id> --failed-records tells which and why
      """
    When I run "golive retry ROLLOUT-OF-1.0.0 --failed-records"
    Then it ends with code 0
    And the story tells "✓ rollout <id>: no record is put aside any more"
    And the answer is:
      """
      no record of rollout <id> is put aside any more
      """
    When I run "golive show ROLLOUT-OF-1.0.0 --failed-records"
    Then the answer is:
      """
      No record is put aside.
      """
    When I run "golive retry ROLLOUT-OF-1.0.0 --failed-records"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: no records of rollout <id> are put aside
      """

  Scenario: records are left aside after all
    Given the online script of search 1.0.0 works through 12 records and puts aside 2 of them with "no such todo", then 0, then 0
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    Given the online script of search 1.0.0 takes until I say so
    When I start "golive retry ROLLOUT-OF-1.0.0 --failed-records"
    Then the story tells "→ deployment-search-1.0.0-online-start (attempt 2)"
    When I run "golive abort ROLLOUT-OF-1.0.0 --reason later" beside it
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: 2 records are still put aside
      """
    When I run "golive abort ROLLOUT-OF-1.0.0"
    Then it ends with code 0
    And the answer is:
      """
      shop 1.0.0 is live (rollout <id>)
      """

  @long
  Scenario: records that golive up has put aside
    Given the online script of search 1.0.0 works through 12 records and puts aside 2 of them with "no such todo", then 0, then 0
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive --nats BUS retry ROLLOUT-OF-1.0.0 --failed-records" beside it
    Then the story tells, in this order:
      """
      ! 2 records were put aside: golive show <id> --failed-records
      → deployment-search-1.0.0-online-start (attempt 2)
      ✓ rollout <id>: no record is put aside any more
      """
    When I press Ctrl-C
    Then it ends with code 0

  @long
  Scenario: records that golive up has put aside before it was started anew
    Given the online script of search 1.0.0 works through 12 records and puts aside 2 of them with "no such todo", then 0, then 0
    And I have run "golive up --once shop"
    And I have run "golive up --once shop"
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    And the story tells "! 2 records were put aside: golive show <id> --failed-records"
    When I run "golive --nats BUS retry ROLLOUT-WITH-RECORDS --failed-records" beside it
    Then the story tells, in this order:
      """
      ! 2 records were put aside: golive show <id> --failed-records
      ▸ starting search setup 1.0.0: …
      → deployment-search-1.0.0-online-start (attempt 2)
      ✓ rollout <id>: no record is put aside any more
      """
    And no setup service runs
    When I press Ctrl-C
    Then it ends with code 0

  Scenario: the release was deployed again since records were put aside
    Given the online script of search 1.0.0 works through 12 records and puts aside 2 of them with "no such todo", then 0, then 0
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And I have run "golive deploy shop"
    When I run "golive retry ROLLOUT --failed-records"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: rollout <id> has run no script, it only repeated rollout <id>
      golive: hint: golive retry <id> --failed-records
      """
    When I run "golive status"
    Then the answer holds "2 records were put aside: golive show <id> --failed-records"
    When I run "golive retry ROLLOUT-WITH-RECORDS --failed-records"
    Then it ends with code 0
    And the answer is:
      """
      no record of rollout <id> is put aside any more
      """

  Scenario: a source that gives fewer records than it counted
    Given the online script of search 1.0.0 works through 12 records, of which its source gives 7
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      search/online | the source counted 12 records and gave 7
      ← deployment-search-1.0.0-online-done (<duration>, 7 items…, the source counted 12 records and gave 7)
      """
    When I run "golive show ROLLOUT"
    Then the answer holds "search/online every record came ✗ does not hold: the source counted 12 records and gave 7"

  Scenario: a source that gives nothing of what it counted
    Given the online script of search 1.0.0 works through 12 records, of which its source gives 0
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: step search/online: failed: backfill: the source counted 12 records and gave 0: leave its Count out if that is no more than a guess
      """

  Scenario: data for trying it out
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | stock   | 1.0.0   |
    When I run "golive up --once --seed 12 shop"
    Then it ends with code 2
    And I am told:
      """
      golive: error: --seed needs the key seed in shop/golive.yaml, which has none
      golive: hint: give there the command that makes data: seed: [go, run, ./seed]
      """
    Given the app shop has a command that makes data
    When I run "golive up --once --seed 12 shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ▸ starting shop seed 1.0.0: …
      shop seed | making 12 todos in shop
      ✓ seeded: GOLIVE_SEED=12
      * rollout <id>: shop 1.0.0, 1 step
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    When I run "golive up --once --seed 100 shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      shop seed | that is too many
      golive: error: the seed command has failed: …
      golive: hint: its last lines are above; see key seed in shop/golive.yaml
      """
    When I run "golive up --seed 0 shop"
    Then it ends with code 2
