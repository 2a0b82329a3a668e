Feature: what a deploy would do

  As somebody who answers for an environment
  I want to see what a deploy would do there, and why, before anything is done
  So that I can agree to it, and be sure that this is done and nothing else.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         | depends on |
      | stock   | 1.0.0   |                 |            |
      | search  | 1.0.0   | offline, online | stock      |

  Scenario: there is something to do
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    Then it ends with code 3
    And the answer is:
      """
      plan …: shop 1.0.0, strategy parallel, 4 of 4 steps to do
      WAVE │ STEP           DOES                            LAST TOOK WAITS FOR
      1    │ search/offline run the offline script of 1.0.0 -         -
      2    │ stock/traffic  bring 1.0.0 online              -         search/offline
      3    │ search/traffic bring 1.0.0 online              -         stock/traffic
      4    │ search/online  run the online script of 1.0.0  -         search/traffic
      downtime: none
      To do exactly this: golive deploy shop --plan …
      """
    And I am told:
      """
      """
    When I run "golive history"
    Then the answer is:
      """
      There has been no rollout here yet.
      """
    And these scripts have run:
      | script | times |

  Scenario: there is nothing to do
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    When I run "golive plan shop"
    Then it ends with code 0
    And the answer is:
      """
      plan …: shop 1.0.0, strategy parallel, 0 of 4 steps to do
      WAVE │ STEP           DOES                    LAST TOOK         WAITS FOR
      1    │ stock/traffic  1.0.0 is online already <duration>, <ago> -
      2    │ search/traffic 1.0.0 is online already <duration>, <ago> stock/traffic
      SKIPPED        VERSION HAS RUN TOOK       IN ROLLOUT
      search/offline 1.0.0   <ago>   <duration> <id>
      search/online  1.0.0   <ago>   <duration> <id>
      downtime: none
      There is nothing to do: shop 1.0.0 is live.
      """

  Scenario: the next version, with maintenance
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.0.1 of the app shop, with these services:
      | service | version | scripts | depends on |
      | stock   | 1.0.0   |         |            |
      | search  | 1.0.1   | offline | stock      |
    And the app shop goes live with the strategy downtime
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    Then it ends with code 3
    And the answer is:
      """
      plan …: shop 1.0.1, strategy downtime, 4 of 5 steps to do
      WAVE │ STEP               DOES                             LAST TOOK         WAITS FOR
      1    │ search/maintenance put 1.0.0 under maintenance      -                 -
      2    │ stock/maintenance  put 1.0.0 under maintenance      -                 search/maintenance
      3    │ search/offline     run the offline script of 1.0.1  -                 stock/maintenance
      4    │ stock/traffic      1.0.0 is online already          <duration>, <ago> search/offline
      5    │ search/traffic     move traffic from 1.0.0 to 1.0.1 <duration>, <ago> stock/traffic
      downtime: of search, stock, for how long is not known: search/offline has never run here
      To do exactly this: golive deploy shop --plan …
      """

  Scenario: nobody has started what it needs
    Given an environment with one orchestrator
    When I run "golive plan shop"
    Then it ends with code 1
    And the answer holds "1    │ search/offline run the offline script of 1.0.0 - -"
    And I am told:
      """
      golive: error: nobody listens to deployment-search-1.0.0-offline-start, so search/offline would wait
      golive: hint: start the setup service of search 1.0.0 that answers it
      golive: error: 0 of 1 instances of stock 1.0.0 are there, so stock/traffic would wait
      golive: hint: start stock 1.0.0
      golive: error: 0 of 1 instances of search 1.0.0 are there, so search/traffic would wait
      golive: hint: start search 1.0.0
      golive: error: nobody listens to deployment-search-1.0.0-online-start, so search/online would wait
      golive: hint: start the setup service of search 1.0.0 that answers it
      """

  Scenario: an older version
    Given an environment with one orchestrator
    And version 2.0.0 of the app shop, with these services:
      | service | version |
      | search  | 2.0.0   |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: shop 1.0.0 is older than 2.0.0, which has been live here
      golive: hint: golive backward shop undoes what the newer version did; to bring the older one on top of that: --allow-older
      """
    When I run "golive plan shop --allow-older"
    Then it ends with code 3
    And the answer holds "To do exactly this: golive deploy shop --plan … --allow-older"

  Scenario: a version that has been live with another manifest
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And the release of the app shop goes through these steps:
      """
      - {phase: offline}
      - {phase: online}
      - {name: front-door, check: {message: search.version, contains: 1.0.0}}
      """
    And on the host one somebody starts "golive agent shop"
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    Then the answer holds "changed: shop 1.0.0 has been live here with another manifest (rollout <id>, …)"
    When I start "golive deploy shop"
    Then the story tells "! shop 1.0.0 has been live here with another manifest (rollout <id>, …)"

  Scenario: while another rollout is under way
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive plan shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> of shop 1.0.0 is running: one app has one rollout at a time
      golive: hint: golive show <id> tells how far it is; golive deploy --queue waits for its end, --replace aborts it
      """
    When I let the offline script of search 1.0.0 end
    Then the rollout of shop 1.0.0 completes

  Scenario: steps of all kinds, and nothing is touched
    Given a web server answers 200
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.1.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.1.0   | online  |
    And the release of the app shop goes through these steps:
      """
      - {name: go-ahead, approval: Shall it go live?, checklist: [support is told]}
      - {traffic: maintenance-on}
      - {name: copy, command: the program copy, on: {role: web}, atOnce: 1, need: 50%}
      - {name: page, check: {http: "WEB/health"}}
      - {phase: online}
      - {traffic: drain, services: [stock]}
      """
    And the program copy prints "copying"
    And somebody starts the programs of the app shop
    And on the host web-1 somebody starts "golive agent --label role=web shop"
    And on the host web-2 somebody starts "golive agent --label role=web shop"
    And all that the release of the app shop needs is there
    And I remember all that is kept in the environment
    When I run "golive plan shop"
    Then it ends with code 5
    And the answer is:
      """
      plan …: shop 1.1.0, strategy parallel, 7 of 7 steps to do
      WAVE │ STEP               DOES                                                                LAST TOOK         WAITS FOR
      1    │ go-ahead           ask somebody: Shall it go live? (checklist of 1 item)             -                 -
      2    │ search/maintenance put 1.0.0 under maintenance                                         -                 go-ahead
      3    │ copy               run on web-1, web-2 (role=web), 50 % must succeed, 1 at once        -                 search/maintenance
      4    │ page               check on one of web-1, web-2                                        -                 copy
      5    │ search/traffic     move traffic from 1.0.0 to 1.1.0                                    <duration>, <ago> page
      6    │ search/online      run the online script of 1.1.0                                      -                 search/traffic
      7    │ stock/drain        take the traffic from 1.0.0                                         -                 search/online
      downtime: of search, for how long is not known: copy, page have never run here
      Somebody has to answer the step go-ahead: golive approve ROLLOUT go-ahead, once the rollout comes to it
      To do exactly this: golive deploy shop --plan …
      """
    And all that is kept in the environment is as it was, byte for byte
    And no program was called
    And the web server was asked 0 times
    When I run "golive plan shop -o json"
    Then it ends with code 5
    And the answer is JSON with the fields that workflow-plan.txt lists
    When I run "golive deploy shop --plan PLAN"
    Then it ends with code 5
    When I run "golive approve ROLLOUT-OF-1.1.0 --yes"
    Then it ends with code 0
    And the rollout of shop 1.1.0 completes
    When I run "golive show ROLLOUT-OF-1.1.0 -o json"
    Then the answer is JSON with the fields that workflow-show.txt lists
    And all times in the answer are in UTC
    When I run "golive show ROLLOUT-OF-1.1.0 --hosts copy -o json"
    Then the answer is JSON with the fields that hosts.txt lists
    And all times in the answer are in UTC

  Scenario: a plan with a workflow does not hold any more when a step is another one
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copy}
      - {phase: online}
      """
    And an environment with one orchestrator
    And somebody starts the programs of the app shop
    And on the host one somebody starts "golive agent shop"
    And all that the release of the app shop needs is there
    When I run "golive plan shop --out plan.json"
    Then it ends with code 3
    Given version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And the release of the app shop goes through these steps:
      """
      - {name: copy, command: the program copier}
      - {phase: online}
      """
    When I run "golive deploy shop --plan plan.json"
    Then it ends with code 1
    And no program was called
    And I am told:
      """
      golive: error: plan … does not hold any more: for shop 1.0.0 it is plan … now
      golive: error: golive.yaml has changed
      golive: hint: see it with golive plan, or go on with it: golive deploy --plan …
      """

  @long
  Scenario: there is no environment
    When I run "golive plan --nats nats://127.0.0.1:1 shop"
    Then it ends with code 1
    And there is no answer
    And I am told this and more:
      """
      golive: error: …127.0.0.1:1…
      golive: hint: is a NATS server running there? name another one with --nats URL
      """

  Scenario: there is no orchestrator
    Given an environment with a bus
    When I run "golive plan shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: no orchestrator answers on this bus
      golive: hint: start one: golive serve, or golive up in the folder of an app
      """

  @long
  Scenario: beside golive up
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When I run "golive plan shop"
    Then it ends with code 0
    And the answer holds "There is nothing to do: shop 1.0.0 is live."

  Scenario: a deploy is held to its plan
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    And I run "golive deploy shop --plan PLAN"
    Then it ends with code 0
    And the answer is:
      """
      shop 1.0.0 is live (rollout <id>)
      """

  Scenario: the world has changed since the plan was made
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop --out plan.json"
    Then it ends with code 3
    And the answer holds "To do exactly this: golive deploy shop --plan plan.json"
    When I run "golive ledger mark search 1.0.0 offline --app shop --reason by-hand"
    And I run "golive deploy shop --plan plan.json"
    Then it ends with code 1
    And there is no answer
    And I am told:
      """
      golive: error: plan … does not hold any more: for shop 1.0.0 it is plan … now
      golive: error: search/offline is not needed any more: it ran <time> in rollout <id>
      golive: hint: see it with golive plan, or go on with it: golive deploy --plan …
      """
    When I run "golive plan shop"
    Then it ends with code 3
    When I run "golive deploy shop --plan PLAN"
    Then it ends with code 0
    And these scripts have run:
      | script              | times |
      | search 1.0.0 online | 1     |
    When I run "golive deploy shop --plan plan.json"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: search/online is not needed any more: it ran <time> in rollout <id>
      golive: error: the route of stock was written by rollout <id>: it leads to 1.0.0, and led to no version
      """

  Scenario: the world has changed, and only the plan's id is known
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And all that the release of the app shop needs is there
    When I run "golive plan shop"
    And I run "golive ledger mark search 1.0.0 offline --app shop --reason by-hand"
    And I run "golive deploy shop --plan PLAN"
    Then it ends with code 1
    And I am told this and more:
      """
      plan …: shop 1.0.0, strategy parallel, 3 of 4 steps to do
      SKIPPED        VERSION HAS RUN TOOK IN ROLLOUT
      search/offline 1.0.0   <ago>   -    <id>
      golive: error: plan … does not hold any more: for shop 1.0.0 it is plan … now
      golive: hint: see it with golive plan, or go on with it: golive deploy --plan …
      golive: hint: kept in a file, a plan tells what has changed: golive plan --out FILE, golive deploy --plan FILE
      """

  Scenario Outline: what is no plan
    Given an environment with one orchestrator
    When I run "golive deploy shop --plan <plan>"
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: <message>
      """

    Examples:
      | plan                 | message                                                                             |
      | none                 | plan "none" is neither a file nor an id, which has 12 to 64 digits from 0 to f      |
      | shop/golive.yaml     | shop/golive.yaml holds no plan                                                      |
      | 0123456789ab --queue | --plan excludes --queue and --replace: what waits or replaces cannot be held to a plan |

  Scenario: for programs
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.0.1 of the app shop, with these services:
      | service | version | scripts | depends on |
      | stock   | 1.0.0   |         |            |
      | search  | 1.0.0   | offline | stock      |
      | billing | 1.0.0   | offline | search     |
    And the app shop goes live with the strategy downtime
    When I run "golive plan shop -o json"
    Then it ends with code 1
    And the answer is JSON with the fields that plan.txt lists
    And all times in the answer are in UTC
    And I am told:
      """
      """
    When I run "golive plan shop -o yaml"
    Then the answer is YAML with the fields that plan.txt lists
