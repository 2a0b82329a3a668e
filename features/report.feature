Feature: a report of every attempt

  As somebody who is asked, weeks later, what was done that night
  I want a report of each rollout, however it has ended, beside the code
  So that nobody has to remember, and everybody can read it.

  Background:
    Given an environment with two orchestrators
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the manifest of the app shop also says:
      """
      reports: reports
      """

  Scenario: of a rollout that goes through
    Given the folder of the app shop is committed to git
    And somebody starts the programs of the app shop
    When I run "golive deploy shop --reason first"
    Then it ends with code 0
    And the story tells "* report: shop/reports/shop-1.0.0-<id>.md"
    And the folder reports of the app shop has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: completed
      | Outcome | `shop 1.0.0 is live: completed in <duration>` |
      | Asked for by | `…` |
      | Why | `first` |
      | Source | `commit …` |
      | Downtime | none |
      | 1 | `search/offline` | `run the offline script of 1.0.0` | 1 | done | 1 | …Z | <duration> | - | 1 | - | - |
      | 2 | `search/traffic` | `bring 1.0.0 online` | 2 | done | 2 | …Z | <duration> | - | 1 | - | - |
      | `manifest` | `1.0.0` | `…` |
      """
    And the report is the same, whoever makes it
    When the first orchestrator is killed with SIGKILL
    Then the report is the same, whoever makes it
    When I run "golive report ROLLOUT -o json"
    Then the answer is JSON with the fields that report.txt lists
    And all times in the answer are in UTC
    When I run "golive report ROLLOUT --commit" in the folder of the app shop
    Then it ends with code 0
    And the story tells "* committed: …"
    And only the report is in the newest commit of the app shop
    When I run "golive report ROLLOUT --commit" in the folder of the app shop
    Then it ends with code 0
    And the story tells "* it is committed already"

  Scenario: of a rollout that fails, and again when it was tried once more
    Given the offline script of search 1.0.0 fails the first time with "no | room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop --report elsewhere"
    Then it ends with code 1
    And the folder elsewhere has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: failed
      | 1 | `search/offline` | `run the offline script of 1.0.0` | 1 | failed | 1 | …Z | <duration> | - | 1 | - | `failed: no ¦ room on the disk` |
      | `search/offline` | `attempt 1 has failed` | `failed: no ¦ room on the disk` |
      | `search/traffic` | `it was not begun` | - |
      """
    When I run "golive retry ROLLOUT --reason cleared" in the folder of the app shop
    Then it ends with code 0
    And the folder reports of the app shop has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: completed
      | `search/offline` | `attempt 1 has failed` | `failed: no ¦ room on the disk` |
      | …Z | `…` | `tried again` | `cleared` |
      """
    And the report is the same, whoever makes it

  Scenario: of a rollout that is aborted
    Given the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive abort ROLLOUT-OF-1.0.0 --reason wrong-version --report elsewhere"
    Then it ends with code 0
    And the folder elsewhere has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: aborted
      | 1 | `search/offline` | `run the offline script of 1.0.0` | 1 | failed | 1 | …Z | <duration> | - | 1 | - | `cancelled: the rollout was aborted` |
      | …Z | `…` | `aborted` | `wrong-version` |
      """
    And the one that was started before ends with code 1
    And the folder reports of the app shop has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: aborted
      """

  Scenario: of a rollout that is taken backward
    Given somebody starts the programs of the app shop
    And I have run "golive deploy shop --report first"
    And version 2.0.0 of the app shop, with these services:
      | service | version | scripts | reverts |
      | search  | 2.0.0   | offline | offline |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop --report second"
    When I run "golive backward shop --reason finds-too-much --report second"
    Then it ends with code 0
    And the folder second has the report of it, which holds:
      """
      # Rollout of `shop` `2.0.0`: reverted
      | Outcome | `shop 2.0.0 is undone: what was online before is online` |
      | 1 | `search/offline` | `run the offline script of 2.0.0` | 1 | reverted | 1 | …Z | <duration> | - | 2 | - | - |
      | 2 | `search/traffic` | `move traffic from 1.0.0 to 2.0.0` | 2 | reverted | 2 | …Z | <duration> | - | 2 | - | - |
      | `search/offline` | `it was undone` | - |
      | …Z | `…` | `taken backward` | `finds-too-much` |
      """
    When I run "golive deploy shop --report third"
    Then it ends with code 0
    And the folder third has the report of it, which holds:
      """
      | 1 | `search/offline` | `run the offline script of 2.0.0` | 1 | done | 1 | …Z | <duration> | <duration> | 1 | - | - |
      """
    And the folder first has the report of it, which holds:
      """
      # Rollout of `shop` `1.0.0`: completed
      """

  Scenario: it cannot be written
    Given the file notes of the app shop is:
      """
      this is no folder
      """
    And somebody starts the programs of the app shop
    When I run "golive deploy shop --report shop/notes"
    Then it ends with code 1
    And the answer is:
      """
      shop 1.0.0 is live (rollout <id>)
      """
    And I am told this and more:
      """
      golive: error: rollout <id> is completed, but its report was not written: …
      golive: hint: golive report <id> --report DIR writes it
      """
    And search answers as version 1.0.0
