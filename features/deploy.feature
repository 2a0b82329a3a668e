Feature: rolling a release out into an environment

  As somebody who runs an environment that others depend on
  I want orchestrators there that go on whatever dies, and a command that has them roll
  a release out
  So that a rollout ends as it should, though machines and terminals do not last.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 1.0.0   | offline, online |

  Scenario: a release is rolled out and followed
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 logs "creating the index"
    And the online script of search 1.0.0 deals with 12 items, "added the goods"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * rollout <id>: shop 1.0.0, 3 steps
      → deployment-search-1.0.0-offline-start
      ← deployment-search-1.0.0-offline-done (<duration>)
      ✓ search 1.0.0 is online, confirmed by 1 instance (<duration>)
      → deployment-search-1.0.0-online-start
      ← deployment-search-1.0.0-online-done (<duration>, 12 items…, added the goods)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And the story tells "search/offline | creating the index"
    And the answer is:
      """
      shop 1.0.0 is live (rollout <id>)
      """
    And search answers as version 1.0.0

  @long
  Scenario: each of two orchestrators dies in turn
    Given an environment with two orchestrators
    And the offline script of search 1.0.0 takes until I say so
    And the online script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the first orchestrator is killed with SIGKILL
    And I let the offline script of search 1.0.0 end
    And the online script of search 1.0.0 has begun
    And another orchestrator is started
    And the second orchestrator is killed with SIGKILL
    And I let the online script of search 1.0.0 end
    Then it ends with code 0
    And the answer holds "shop 1.0.0 is live (rollout <id>)"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |

  @long
  Scenario: a script ends while there is no orchestrator
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the first orchestrator is killed with SIGKILL
    And I let the offline script of search 1.0.0 end
    And another orchestrator is started
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |

  Scenario: an orchestrator is stopped while a script runs
    Given an environment with two orchestrators
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the first orchestrator gets Ctrl-C
    Then the first orchestrator ends with code 0
    When I let the offline script of search 1.0.0 end
    Then it ends with code 0

  Scenario: the bus goes away while a script runs, and comes back
    Given an environment with two orchestrators
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    Then the story tells "→ deployment-search-1.0.0-offline-start"
    When the bus goes away and comes back
    And I let the offline script of search 1.0.0 end
    Then it ends with code 0
    And search answers as version 1.0.0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |

  Scenario: I give up waiting, and the rollout goes on
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I run "golive deploy --wait 1s shop"
    Then it ends with code 4
    And there is no answer
    And the story tells, in this order:
      """
      golive: error: stopped following rollout <id>: it goes on
      golive: hint: see how far it is: golive watch <id>
      """
    When the offline script of search 1.0.0 has begun
    And I let the offline script of search 1.0.0 end
    Then the rollout of shop 1.0.0 completes
    When I run "golive show ROLLOUT"
    Then the answer holds "shop 1.0.0, completed, begun <ago> by …, took <duration>"

  Scenario: Ctrl-C ends the following, not the rollout
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I press Ctrl-C
    Then it ends with code 4
    When I let the offline script of search 1.0.0 end
    Then the rollout of shop 1.0.0 completes

  Scenario: an app has one rollout at a time
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    Given version 1.0.1 of the app shop, with these services:
      | service | version |
      | search  | 1.0.1   |
    When I run "golive deploy shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> of shop 1.0.0 is running: one app has one rollout at a time
      golive: hint: golive show <id> tells how far it is; golive deploy --queue waits for its end, --replace aborts it
      """
    When I let the offline script of search 1.0.0 end
    Then the rollout of shop 1.0.0 completes

  Scenario: a release takes the place of one that is being rolled out
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    Given version 1.0.1 of the app shop, with these services:
      | service | version |
      | search  | 1.0.1   |
    And somebody starts the programs of the app shop
    When I run "golive deploy --replace shop"
    Then the one that was started before ends with code 1
    And it ends with code 0
    And search answers as version 1.0.1
    When I run "golive history"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS    BEGUN TOOK       BY
      <id>    shop 1.0.1   completed <ago> <duration> …
      <id>    shop 1.0.0   aborted   <ago> <duration> …
      """

  Scenario: a service belongs to one app
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 1.0.0 of the app blog, with these services:
      | service | version |
      | search  | 3.0.0   |
    When I run "golive deploy blog"
    Then it ends with code 1
    And I am told:
      """
      golive: error: service search belongs to app shop in this environment
      golive: hint: choose another name for the service
      """

  @long
  Scenario: nobody has started the setup service
    Given an environment with one orchestrator
    When I start "golive deploy shop"
    Then the story tells, in this order:
      """
      … state=waiting step=search/offline for=<duration>: nobody listens to deployment-search-1.0.0-offline-start
      start the setup service that answers deployment-search-1.0.0-offline-start, or give its command in golive.yaml (key setup)
      """
    When somebody starts the programs of the app shop
    Then it ends with code 0

  Scenario: for programs
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    When I run "golive deploy shop -o json"
    Then it ends with code 0
    And the answer is JSON with the fields that deploy.txt lists

  Scenario: giving up, for programs
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I run "golive deploy --wait 1s shop -o json"
    Then it ends with code 4
    And the answer is JSON with the fields that error.txt lists
    And the answer holds:
      """
      "code": "gave_up",
      """

  Scenario: a version that was taken offline is prepared again when it comes back
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 2.0.0   | offline, online |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And search answers as version 2.0.0
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 1.0.0   | offline, online |
    When I run "golive deploy --allow-older shop"
    Then it ends with code 0
    And search answers as version 1.0.0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |
      | search 1.0.0 online  | 1     |
      | search 2.0.0 offline | 1     |
      | search 2.0.0 online  | 1     |
    When I run "golive status --check"
    Then it ends with code 0
    When I run "golive history --limit 2"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS    BEGUN TOOK       BY
      <id>    shop 1.0.0   completed <ago> <duration> …
      <id>    shop 2.0.0   completed <ago> <duration> …
      Older ones: golive history --before <id>
      """
    When I run "golive show 01"
    Then it ends with code 1
    And I am told:
      """
      golive: error: 01 is the beginning of several rollouts, such as <id> and <id>
      golive: hint: give more of its id
      """
