Feature: when something fails

  As somebody whose script has a mistake
  I want to be told what has failed, why, and what to run next
  So that I correct it and go on where it failed, while the previous version serves.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 1.0.0   | offline, online |

  Scenario: a script fails
    Given the offline script of search 1.0.0 fails with "no room on the disk"
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      → deployment-search-1.0.0-offline-start
      ✗ deployment-search-1.0.0-offline-failed (<duration>): failed: no room on the disk
      ✗ shop 1.0.0 is not live: the rollout has failed after <duration>
      golive: error: rollout <id> of shop 1.0.0 has failed
      golive: error: step search/offline: failed: no room on the disk
      golive: hint: correct the cause, then: golive retry <id>, or golive up again
      """
    And there is no answer
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |

  @long
  Scenario: the next golive up tries it again
    Given the online script of search 1.0.0 fails the first time with "no room on the disk"
    When I run "golive up --once shop"
    Then it ends with code 1
    When I run "golive up --once shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * rollout <id> had failed: trying it again
      * tried again by …: golive up
      → deployment-search-1.0.0-online-start (attempt 2)
      ← deployment-search-1.0.0-online-done (<duration>)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 2     |

  Scenario: what failed can be looked at, and be tried again from another terminal
    Given the offline script of search 1.0.0 fails the first time with "no room on the disk"
    When I start "golive up shop"
    Then the story tells "▪ the services stay up for you to look at: Ctrl-C stops them"
    And search does not answer
    When I run "golive status shop"
    Then it ends with code 0
    And the answer holds these lines:
      """
      shop 1.0.0: rollout <id> failed <ago>
      failed: search/offline: failed: no room on the disk
      search 1.0.0 - 1 offline, online
      """
    When somebody starts the setup service of search 1.0.0 with the scripts offline, online
    And I run "golive retry ROLLOUT --reason space"
    Then it ends with code 0
    And the story tells "* tried again by …: space"
    And the answer is:
      """
      shop 1.0.0 is live (rollout <id>)
      """
    And search answers as version 1.0.0

  @long
  Scenario: a script panics
    Given the offline script of search 1.0.0 panics with "index out of range"
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells "golive: error: step search/offline: panic: panic: index out of range"

  Scenario: a script takes too long
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | timeout |
      | search  | 1.0.0   | offline | 1s      |
    And the offline script of search 1.0.0 takes until I say so
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells "golive: error: step search/offline: timeout: …"

  Scenario: the previous version goes on serving
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the offline script of search 2.0.0 fails the first time with "no room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And search answers as version 1.0.0
    When I run "golive retry ROLLOUT"
    Then it ends with code 0
    And search answers as version 2.0.0
    When I run "golive retry ROLLOUT"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> is completed: only a failed one can be retried
      golive: hint: golive show <id> tells how it stands
      """

  Scenario: the next release takes the place of one that has failed
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 fails with "no room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    Given version 1.0.1 of the app shop, with these services:
      | service | version |
      | search  | 1.0.1   |
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    When I run "golive history"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS     BEGUN TOOK       BY
      <id>    shop 1.0.1   completed  <ago> <duration> …
      <id>    shop 1.0.0   superseded <ago> <duration> …
      """

  Scenario: there is no such program as the setup service
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | its setup service |
      | search  | 1.0.0   | offline | does not exist    |
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      golive: error: start search setup: there is no program "no-such-program" in PATH: install it, or give its path in the command…
      golive: hint: see how search setup is started in <folder>/shop/golive.yaml
      """

  Scenario: there is no such program as the service
    Given version 1.0.0 of the app shop, with these services:
      | service | version | its program    |
      | search  | 1.0.0   | does not exist |
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells "golive: error: start search: there is no program …"

  Scenario: the setup service ends at once
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts | its setup service |
      | search  | 1.0.0   | offline | ends at once      |
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells "search setup | there is no configuration"
    And the story tells, in this order:
      """
      golive: error: search setup exited with code 3
      golive: hint: its last lines are above; see how it is started in shop/golive.yaml
      """

  Scenario: the service ends at once
    Given version 1.0.0 of the app shop, with these services:
      | service | version | its program  |
      | search  | 1.0.0   | ends at once |
    When I run "golive up --once shop"
    Then it ends with code 1
    And the story tells "search | there is no configuration"
    And the story tells "golive: error: search exited with code 3"

  @long
  Scenario: a service ends by itself while the app is up
    When I start "golive up shop"
    Then the answer holds "shop 1.0.0 is online"
    When the service of search 1.0.0 runs out of memory
    Then it ends with code 1
    And the story tells, in this order:
      """
      search | out of memory
      golive: error: search exited with code 3
      golive: hint: its last lines are above; see how it is started in shop/golive.yaml
      """
    And all that golive has started is gone

  @long
  Scenario: a service ends by itself while a script runs
    Given the offline script of search 1.0.0 takes until I say so
    When I start "golive up shop"
    And the offline script of search 1.0.0 has begun
    And the service of search 1.0.0 runs out of memory
    Then it ends with code 1
    And the story tells "golive: error: search exited with code 3"
    And all that golive has started is gone

  @long
  Scenario: the setup service dies in the middle of its script
    Given the offline script of search 1.0.0 takes until I say so
    When I start "golive up --once shop"
    And the offline script of search 1.0.0 has begun
    And the setup service of search 1.0.0 runs out of memory
    Then it ends with code 1
    And the story tells "golive: error: search setup exited with code 3"
    And all that golive has started is gone

  Scenario: what a rollout has prepared is prepared again by the one that takes its place
    Given an environment with one orchestrator
    And the online script of search 1.0.0 fails with "no room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    Given version 1.0.1 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    When I run "golive deploy shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |
      | search 1.0.0 online  | 1     |
    When I run "golive ledger"
    Then the answer is:
      """
      OF     VERSION PHASE   RAN   TOOK       ITEMS ROLLOUT COUNTS
      search 1.0.0   offline <ago> <duration> 0     <id>    no: …
      search 1.0.0   offline <ago> <duration> 0     <id>    yes
      """

  @long
  Scenario: the app's own setup script fails when everything serves
    Given the app shop has a setup script of its own
    And the setup script of shop 1.0.0 fails the first time with "the mail server does not answer"
    When I start "golive up shop"
    Then the story tells "✗ shop-1.0.0-setup-script-failed (<duration>): failed: the mail server does not answer"
    And the story tells "▪ the services stay up for you to look at: Ctrl-C stops them"
    And search answers as version 1.0.0
    When I press Ctrl-C
    Then it ends with code 1
    When I run "golive up --once shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 2     |
