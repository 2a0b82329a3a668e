Feature: aborting a rollout

  As somebody who sees that a rollout was a mistake
  I want to stop it wherever it is
  So that what served before serves again, and it is on record who stopped it and why.

  Background:
    Given an environment with one orchestrator, each of them "golive serve --cutover-timeout 5s"
    And version 1.0.0 of the app shop, with these services:
      | service | version |
      | search  | 1.0.0   |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"

  Scenario: while a script runs
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 2.0.0   | offline, online |
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    And somebody observes these messages:
      | deployment-search-2.0.0-offline-cancel |
      | shop-2.0.0-setup-failed                |
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And I run "golive abort ROLLOUT-OF-2.0.0 --reason wrong-version"
    Then it ends with code 0
    And the answer is:
      """
      rollout <id> of shop 2.0.0 is aborted: what was online before is online
      """
    And the story tells, in this order:
      """
      * aborted by …: wrong-version
      ✗ deployment-search-2.0.0-offline-failed (<duration>): cancelled: the rollout was aborted
      ✗ shop 2.0.0 is aborted: what was online before is online
      """
    And the one that was started before ends with code 1
    And the offline script of search 2.0.0 is told to stop
    And search answers as version 1.0.0
    And these messages are observed, and no other:
      | message                                | Golive-Attempt | payload        |
      | deployment-search-2.0.0-offline-cancel | 1              | …              |
      | shop-2.0.0-setup-failed                |                | …"final":true… |
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      shop 2.0.0, aborted, begun <ago> by …, took <duration>
      1 search/offline 2.0.0 failed  1 <duration> 0 cancelled: the rollout was aborted
      2 search/traffic 2.0.0 pending 0 -          0 -
      3 search/online  2.0.0 pending 0 -          0 -
      <date> aborted by …: wrong-version
      """
    And these scripts have run:
      | script               | times |
      | search 2.0.0 offline | 1     |
    When I run "golive status"
    Then the answer holds "search 2.0.0 1.0.0 1 offline, online"

  Scenario: what the deploy that followed it is told
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And I run "golive abort ROLLOUT-OF-2.0.0 -o json" beside it
    Then it ends with code 1
    And the story tells, in this order:
      """
      * aborted by …
      golive: error: rollout <id> of shop 2.0.0 was aborted
      golive: error: step search/offline: cancelled: the rollout was aborted
      golive: hint: golive show <id> tells by whom and why
      """

  Scenario: in the middle of a cutover
    Given version 2.0.0 of the app shop, with these services:
      | service | version |
      | search  | 2.0.0   |
    And somebody starts the programs of the app shop
    And the service of search 2.0.0 hangs
    When I start "golive deploy shop"
    Then the story tells "⇄ search/traffic: bringing 2.0.0 online"
    When I run "golive abort ROLLOUT-OF-2.0.0 --reason it-hangs"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * aborted by …: it-hangs
      ⇄ search/traffic: putting search 1.0.0 back
      ✓ search/traffic: search 1.0.0 is back (<duration>)
      ✗ shop 2.0.0 is aborted: what was online before is online
      """
    And the one that was started before ends with code 1
    And search answers as version 1.0.0
    When the service of search 2.0.0 wakes up
    Then search answers as each of these versions: 1.0.0

  Scenario: where an offline script has changed data that the version before works on
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the app shop goes live with the strategy downtime
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And I run "golive abort ROLLOUT-OF-2.0.0"
    Then it ends with code 1
    And I am told:
      """
      golive: error: offline scripts of rollout <id> have begun to change data, which an abort does not undo: the version before may not work on it
      golive: hint: golive backward shop undoes the scripts; to abort all the same: golive abort <id> --yes
      """
    And search is under maintenance, to be asked again after 3 seconds
    When I run "golive abort ROLLOUT-OF-2.0.0 -o json"
    Then it ends with code 1
    And the answer holds:
      """
      "code": "confirm",
      """
    When I run "golive abort ROLLOUT-OF-2.0.0 --yes --reason data-is-fine"
    Then it ends with code 0
    And the story tells, in this order:
      """
      ✓ search/maintenance: search 1.0.0 is back (<duration>)
      ✗ shop 2.0.0 is aborted, downtime <duration>: what was online before is online
      """
    And search answers as version 1.0.0

  Scenario: one that has failed
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | online  |
    And the online script of search 2.0.0 fails with "no room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And search answers as version 2.0.0
    When I run "golive abort ROLLOUT-OF-2.0.0"
    Then it ends with code 0
    And search answers as version 1.0.0
    When I run "golive abort ROLLOUT-OF-2.0.0"
    Then it ends with code 0

  Scenario: one that has completed
    When I run "golive abort ROLLOUT"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> is completed: it cannot be aborted any more
      golive: hint: golive backward shop goes back to the version before
      """
    And search answers as version 1.0.0
