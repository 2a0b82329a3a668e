Feature: an upgrade is more than its scripts

  As somebody who upgrades an app that people work with
  I want to put what I used to do by hand, and to look at, into the release, in its order
  So that a machine does it the same way every time, and stops before the public sees a mistake.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |

  Scenario: steps of all kinds, in the order of the manifest
    Given a web server answers 200
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
      | old     | 1.0.0   |         |
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 2.0.0   | offline, online |
    And the release of the app shop goes through these steps:
      """
      - {name: confirm, approval: Shall it go live now?}
      - {traffic: maintenance-on}
      - {name: front-end, command: the program front-end, backward: true, status: true}
      - {name: users, command: the program users, backward: true, status: true}
      - {name: backup, shell: "echo $1 > backup; echo saving $GOLIVE_APP"}
      - {phase: offline}
      - {name: smoke, check: {message: search.version, contains: 2.0.0}}
      - {name: page, check: {http: "WEB/health"}}
      - {phase: online}
      - {traffic: drain, services: [old]}
      - {name: saved, check: {shell: "grep forward backup"}}
      """
    And what the program users does is done already
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop"
    Then it ends with code 5
    And no program was called
    And search answers as version 1.0.0
    When I start "golive watch"
    Then the story tells "* rollout <id>: shop 2.0.0, 12 steps"
    When I run "golive approve ROLLOUT-OF-2.0.0 --reason it-is-night" beside it
    Then it ends with code 0
    And the story tells, in this order:
      """
      ✓ confirm: approved by … (it-is-night) (<duration>)
      ⇄ search/maintenance: putting search 1.0.0 under maintenance
      ✓ search is under maintenance (<duration>)
      → front-end runs
      ✓ front-end is done on 1 host (<duration>)
      → users runs
      ✓ users is done on 1 host: had been done already (<duration>)
      → backup runs
      ✓ backup is done on 1 host (<duration>)
      → deployment-search-2.0.0-offline-start
      ← deployment-search-2.0.0-offline-done (<duration>)
      → smoke is being checked
      ✓ smoke holds on 1 host (<duration>)
      → page is being checked
      ✓ page holds on 1 host (<duration>)
      ✓ search 2.0.0 is online, confirmed by 1 instance (<duration>)
      ← deployment-search-2.0.0-online-done (<duration>)
      ✓ old 1.0.0 gets no traffic any more (<duration>)
      → saved is being checked
      ✓ saved holds on 1 host (<duration>)
      ✓ shop 2.0.0 is live: completed in <duration>, downtime <duration>
      """
    And search answers as version 2.0.0
    And old does not answer
    And these programs were called, in this order:
      | program   | with    |
      | front-end | status  |
      | front-end | forward |
      | users     | status  |
    And the web server was asked 1 time
    When I run "golive show ROLLOUT-OF-2.0.0"
    Then the answer holds these lines:
      """
      3 front-end 2.0.0 done 1 <duration> 0 done on 1 host
      4 users     2.0.0 done 1 <duration> 0 done on 1 host
      front-end one done 0 <duration> -
      users     one done - <duration> had been done already
      """
    When I run "golive show ROLLOUT-OF-2.0.0 --hosts backup"
    Then the answer is:
      """
      HOST STATUS EXIT TOOK       REMARK
      one  done   0    <duration> -
      one:
      saving shop
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells "3. front-end run on any one host skipped: …"

  Scenario: golive backward undoes in reverse order
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | online  | online  |
    And the release of the app shop goes through these steps:
      """
      - {name: front-end, command: the program front-end, backward: true}
      - {name: backup, command: the program backup}
      - {name: users, command: the program users, backward: true, status: true}
      - {phase: online}
      - {name: mail, shell: "echo mail: $1", backward: true}
      """
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    And I have run "golive deploy shop"
    And what the program users does is done already
    When I run "golive backward shop --reason it-is-slow"
    Then it ends with code 0
    And the story tells, in this order:
      """
      → mail is being undone (attempt 2)
      ✓ mail is undone on 1 host (<duration>)
      → deployment-search-2.0.0-online-revert-start (attempt 2)
      ⇄ search/traffic: putting search 1.0.0 back
      → users is being undone (attempt 2)
      → front-end is being undone (attempt 2)
      """
    And search answers as version 1.0.0
    And these programs were called, in this order:
      | program   | with     |
      | front-end | forward  |
      | backup    | forward  |
      | users     | status   |
      | users     | forward  |
      | users     | status   |
      | users     | backward |
      | front-end | backward |

  Scenario: a failing check before the gate keeps it shut
    Given a web server answers 503
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   |         |
    And the release of the app shop goes through these steps:
      """
      - {name: migrate, command: the program migrate}
      - {name: page, check: {http: "WEB/health?key=secret", tries: 2, pause: 100ms}}
      - {phase: online}
      """
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    And a visitor asks search for its version all the time
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ page does not hold (<duration>): failed: …GET http://127.0.0.1:<number>/health answered 503, expected 200 to 299 (2 tries)
      ✗ shop 2.0.0 is not live: the rollout has failed after <duration>
      golive: hint: correct the cause, then: golive retry <id>
      """
    And the visitor gets answers from search 1.0.0
    And the visitor had no answer from search 2.0.0 at all
    And the last 10 answers that the visitor had are all from search 1.0.0
    When the web server answers 200
    And I run "golive retry ROLLOUT-OF-2.0.0"
    Then it ends with code 0
    And search answers as version 2.0.0
    And these programs were called, in this order:
      | program | with    |
      | migrate | forward |

  Scenario: maintenance for as long as something else takes
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   |         |
    And the release of the app shop goes through these steps:
      """
      - {traffic: maintenance-on}
      - {name: backup, command: the program backup}
      - {traffic: maintenance-off}
      - {name: looked, approval: Is the backup good?}
      - {phase: online}
      """
    And the app shop goes live with the strategy parallel
    And the program backup takes until I say so
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    When I start "golive deploy shop"
    Then the program backup has begun
    And search is under maintenance, to be asked again after 3 seconds
    When I let the program backup end
    Then it ends with code 5
    And the story tells "✓ search 1.0.0 serves again (<duration>)"
    And search answers as version 1.0.0
    When I run "golive approve ROLLOUT-OF-2.0.0"
    Then the rollout of shop 2.0.0 completes
    And search answers as version 2.0.0

  Scenario Outline: a failing check behind the gate, <autoRevert>
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   |         |
    And the release of the app shop goes through these steps:
      """
      - {name: front-end, command: the program front-end, backward: true}
      - {phase: online}
      - {name: door, check: {command: the program door}}
      """
    And the manifest of the app shop also says:
      """
      <autoRevert>
      """
    And the program door fails with "nobody can enter"
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells "one | nobody can enter"
    And the story tells "<told>"
    And search answers as version <version>
    And the program front-end has begun
    When I run "golive history"
    Then the answer holds "<id> shop 2.0.0 <status> <ago> <duration> …"

    Examples:
      | autoRevert        | told                                                                    | version | status   |
      | autoRevert: true  | ✗ a check has failed behind the gate: shop 2.0.0 is taken backward      | 1.0.0   | reverted |
      | autoRevert: false | ✗ shop 2.0.0 is not live: the rollout has failed after <duration>       | 2.0.0   | failed   |

  Scenario: what fails is tried again, and what takes too long is stopped
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
    And the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy, retries: 1, backoff: 100ms}
      - {name: wait, command: the program wait, timeout: 1s}
      - {phase: online}
      """
    And the program copy fails the first time with "no room on the disk"
    And the program wait takes until I say so
    And an environment with one orchestrator
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ copy has failed (<duration>): failed: …: attempt 2 in 100ms
      ✗ one: failed, exit code 1 after <duration>…
      one | no room on the disk
      → copy runs (attempt 2)
      ✓ copy is done on 1 host (<duration>)
      ✗ wait has failed (<duration>): …timeout…
      """
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      1 copy           1.0.0 done    2 <duration> 0 done on 1 host
      2 wait           1.0.0 failed  1 <duration> 0 …timeout…
      3 search/traffic 1.0.0 pending 0 -          0 -
      """

  Scenario: an abort stops what runs
    Given the release of the app shop goes through these steps:
      """
      - {name: first, command: the program first, backward: true}
      - {name: copy, command: the program copy}
      - {phase: online}
      """
    And the program copy takes until I say so
    And an environment with one orchestrator
    And on the host one somebody starts "golive agent shop"
    When I start "golive deploy shop"
    Then the program copy has begun
    When I run "golive abort ROLLOUT-OF-1.0.0 --reason it-takes-too-long"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> has done what an abort does not undo: first; the version before may not work on it
      golive: hint: golive backward shop undoes …; to abort all the same: golive abort <id> --yes
      """
    When I run "golive abort ROLLOUT-OF-1.0.0 --reason it-takes-too-long --yes"
    Then it ends with code 0
    And the program copy is stopped
    When I go back to where I had started "golive deploy shop"
    Then it ends with code 1
    And search does not answer
    And these programs were called, in this order:
      | program | with    |
      | first   | forward |
      | copy    | forward |

  Scenario: what is skipped tells in which rollout it was done
    Given the release of the app shop goes through these steps:
      """
      - {name: copy, shell: "true"}
      - {phase: online}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    When I run "golive deploy shop"
    And I run "golive deploy shop"
    Then the story tells that copy was done in the first rollout of all
    When I run "golive deploy shop"
    Then the story tells that copy was done in the first rollout of all

  Scenario: on this machine, with what commands write behind their names
    Given the release of the app shop goes through these steps:
      """
      - {name: backup, shell: "echo saving $GOLIVE_APP $GOLIVE_APP_VERSION on $GOLIVE_HOST"}
      - {phase: online}
      - {name: front-door, check: {message: search.version, contains: 1.0.0}, on: {role: web}}
      """
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      1. backup         run on any one host
      2. search/traffic bring 1.0.0 online
      3. front-door     check on hosts with role=web
      → backup runs
      backup | saving shop 1.0.0 on local…
      ✓ backup is done on 1 host (<duration>)
      ✓ front-door holds on 1 host (<duration>)
      """

  Scenario: a command that asks is not answered, and what it asks is shown
    Given the release of the app shop goes through these steps:
      """
      - {name: upgrade, shell: "printf 'Continue? [y/N] '; sleep 2; read answer || echo nobody answers"}
      - {phase: online}
      """
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      upgrade | Continue? [y/N]
      upgrade | nobody answers
      ✓ upgrade is done on 1 host (<duration>)
      """

  Scenario: roles that differ in a dot
    Given the release of the app shop goes through these steps:
      """
      - {name: one, shell: "true", on: {role: web-1}}
      - {name: two, shell: "true", on: {role: web.1}}
      - {phase: online}
      """
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells "✓ two is done on 1 host (<duration>)"

  Scenario: a step that cannot be understood
    Given the release of the app shop goes through these steps:
      """
      - {name: backup, comand: [backup]}
      - {phase: online}
      """
    When I run "golive plan shop --nats nats://127.0.0.1:1"
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: shop/golive.yaml:<number>:…: steps[0].comand: …
      """
