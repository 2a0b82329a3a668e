Feature: going backward

  As somebody who finds out too late that a version is no good
  I want the version before back, with the data as it was for it
  So that I do not have to write and release a correction in a hurry.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 1.0.0   | offline | offline |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"

  Scenario: a completed rollout is undone, in reverse order
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | reverts         |
      | search  | 2.0.0   | offline, online | offline, online |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And search answers as version 2.0.0
    When I run "golive backward shop --reason finds-too-much"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * taken backward by …: finds-too-much
      → deployment-search-2.0.0-online-revert-start (attempt 2)
      ← deployment-search-2.0.0-online-reverted (<duration>)
      ⇄ search/traffic: putting search 1.0.0 back
      ✓ search/traffic: search 1.0.0 is back (<duration>)
      → deployment-search-2.0.0-offline-revert-start (attempt 2)
      ← deployment-search-2.0.0-offline-reverted (<duration>)
      ✓ shop 2.0.0 is undone: what was online before is online
      """
    And the answer is:
      """
      rollout <id> of shop 2.0.0 is undone: what was online before is online
      """
    And search answers as version 1.0.0
    When I run "golive show ROLLOUT -o json"
    Then the answer is JSON with the fields that reverted.txt lists
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      shop 2.0.0, reverted, begun <ago> by …, took <duration>
      <date> step-done search/online, rollout completed
      <date> taken backward by …: finds-too-much
      <date> reverted search/online (attempt 2), rollout reverting
      <date> restored search/traffic (attempt 2), rollout reverting
      <date> reverted search/offline (attempt 2), rollout reverted
      """
    When I run "golive ledger"
    Then the answer is:
      """
      OF     VERSION PHASE   RAN   TOOK       ITEMS ROLLOUT COUNTS
      search 1.0.0   offline <ago> <duration> 0     <id>    …
      search 2.0.0   offline <ago> <duration> 0     <id>    no: …
      search 2.0.0   online  <ago> <duration> 0     <id>    no: …
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    And these scripts have run:
      | script                      | times |
      | search 1.0.0 offline        | 1     |
      | search 2.0.0 offline        | 2     |
      | search 2.0.0 online         | 2     |
      | search 2.0.0 offline revert | 1     |
      | search 2.0.0 online revert  | 1     |

  Scenario: a script cannot be undone
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | reverts |
      | search  | 2.0.0   | offline, online | online  |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And somebody observes these messages:
      | deployment-search-2.> |
      | shop-2.>              |
      | golive.rollout.>      |
    When I run "golive backward shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: nobody listens to the revert of search/offline of 2.0.0: nothing was changed
      golive: hint: start the setup service of search 2.0.0, with its revert scripts, or leave what they did as it is with --skip-missing
      """
    And these messages are observed, and no other:
      | message |
    And search answers as version 2.0.0
    When I run "golive backward shop --skip-missing"
    Then it ends with code 0
    And search answers as version 1.0.0
    And these scripts have run:
      | script                     | times |
      | search 1.0.0 offline       | 1     |
      | search 2.0.0 offline       | 1     |
      | search 2.0.0 online        | 1     |
      | search 2.0.0 online revert | 1     |

  # The same release again, and again: none of that is what is undone.
  Scenario: the release was deployed again since
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         | reverts         |
      | search  | 2.0.0   | offline, online | offline, online |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And I have run "golive deploy shop"
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      shop 2.0.0, completed, no change, begun <ago> by …, took <duration>
      nothing was left to run or to move: shop 2.0.0 is live by rollout <id>
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    When I run "golive history shop"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS               BEGUN TOOK       BY
      <id>    shop 2.0.0   completed, no change <ago> <duration> …
      <id>    shop 2.0.0   completed, no change <ago> <duration> …
      <id>    shop 2.0.0   completed            <ago> <duration> …
      <id>    shop 1.0.0   completed            <ago> <duration> …
      """
    When I run "golive backward shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ← deployment-search-2.0.0-online-reverted (<duration>)
      ✓ search/traffic: search 1.0.0 is back (<duration>)
      ← deployment-search-2.0.0-offline-reverted (<duration>)
      ✓ shop 2.0.0 is undone: what was online before is online
      """
    And search answers as version 1.0.0
    When I run "golive status shop"
    Then the answer holds "shop 2.0.0: rollout <id> reverted <ago>"

  Scenario: the setup service that is needed does not run
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | offline | offline |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And the setup service that runs the offline script of search 2.0.0 is killed with SIGKILL
    When I run "golive --nats BUS backward shop" in the folder of the app shop
    Then it ends with code 1
    And I am told:
      """
      golive: error: nobody listens to the revert of search/offline of 2.0.0: nothing was changed
      golive: hint: start the setup service of search 2.0.0, with its revert scripts, or leave what they did as it is with --skip-missing
      golive: hint: in this folder: GOLIVE_NATS_URL=nats://127.0.0.1:<number> GOLIVE_SERVICE=search GOLIVE_VERSION=2.0.0 … setup offline 'offline revert'
      """
    When somebody starts the programs of the app shop
    And I run "golive backward shop"
    Then it ends with code 0

  Scenario: nobody is there who would answer
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | online  | online  |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And somebody stops the service of search 1.0.0
    When I run "golive backward shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: traffic would go back to search 1.0.0 (0 of 1 instances are alive): nothing was changed
      golive: hint: start what is missing first, or go back all the same with --yes
      """
    And search answers as version 2.0.0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 2.0.0 online  | 1     |
    When I run "golive backward shop --yes"
    Then it ends with code 0
    And search does not answer
    When I run "golive status --check"
    Then it ends with code 1
    And the answer holds these lines:
      """
      SERVICE VERSION ONLINE ALIVE NOT RUN
      search  2.0.0   1.0.0  0     online
      ✗ alarm: no instance of search 1.0.0 is alive, which is online: nobody answers
      """
    And I am told:
      """
      golive: error: there is an alarm: production requests are not answered, or will not be for long
      golive: hint: golive status tells why
      """
    When I run "golive routes --check"
    Then it ends with code 1
    And the answer is:
      """
      SERVICE VERSION STATE  CONFIRMED REVISION SINCE
      search  1.0.0   online 0 of 0    <number> <ago>
      ✗ alarm: no instance of search 1.0.0 is alive, which is online: nobody answers
      """

  Scenario: over two versions
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | offline | offline |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 3.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 3.0.0   | online  | online  |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    When I run "golive backward shop 1.0.0"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ← deployment-search-3.0.0-online-reverted (<duration>)
      ✓ search/traffic: search 2.0.0 is back (<duration>)
      ✓ shop 3.0.0 is undone: what was online before is online
      ✓ search/traffic: search 1.0.0 is back (<duration>)
      ← deployment-search-2.0.0-offline-reverted (<duration>)
      ✓ shop 2.0.0 is undone: what was online before is online
      """
    And search answers as version 1.0.0

  Scenario: where there is nothing to go back to
    When I run "golive backward shop 3.0.0"
    Then it ends with code 1
    And I am told:
      """
      golive: error: version "3.0.0" of shop was not live before
      golive: hint: golive history shop lists what has been live
      """
    When I run "golive backward shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: shop 1.0.0 is the first version of the app here: there is none to go back to
      golive: hint: golive history shop lists what has been live
      """
    When I run "golive backward blog"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: …blog…
      """

  # The version that served meanwhile has written data that they have not seen.
  Scenario: the scripts that prepared the version that is back run again with its next deploy
    Given version 2.0.0 of the app shop, with these services:
      | service | version |
      | search  | 2.0.0   |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And I have run "golive backward shop"
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 1.0.0   | offline | offline |
    When I run "golive deploy shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |

  Scenario: one that is under way
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | offline | offline |
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And I run "golive backward shop --reason never-mind"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * taken backward by …: never-mind
      → deployment-search-2.0.0-offline-cancel
      ✗ deployment-search-2.0.0-offline-failed: cancelled: …cancelled by the orchestrator
      → deployment-search-2.0.0-offline-revert-start (attempt 2)
      ← deployment-search-2.0.0-offline-reverted (<duration>)
      ✓ shop 2.0.0 is undone: what was online before is online
      """
    And the one that was started before ends with code 1
    And the offline script of search 2.0.0 is told to stop
    And search answers as version 1.0.0
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      <date> created
      <date> taken backward by …: never-mind
      <date> step-failed search/offline: cancelled: …, rollout reverting
      <date> reverted search/offline (attempt 2), rollout reverted
      """

  Scenario: a revert script fails
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | offline | offline |
    And the offline revert script of search 2.0.0 fails the first time with "no room on the disk"
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    When I run "golive backward shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ deployment-search-2.0.0-offline-revert-failed (<duration>): failed: no room on the disk
      ✗ shop 2.0.0 is not undone: its way backward has failed
      golive: error: rollout <id> of shop 2.0.0 has failed on its way backward
      golive: error: step search/offline: failed: no room on the disk
      golive: hint: correct the cause, then: golive retry <id>
      """
    When I run "golive retry ROLLOUT"
    Then it ends with code 0
    And the answer is:
      """
      rollout <id> of shop 2.0.0 is undone: what was online before is online
      """
    And search answers as version 1.0.0
