Feature: pausing a rollout

  As somebody who watches a rollout
  I want to hold it, or one of its steps, and let it go on later
  So that I can look at something before it is too late, and nothing fails meanwhile.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts         | timeout |
      | search  | 1.0.0   | offline, online | 3s      |

  @long
  Scenario: a script holds, and its time does not run out
    Given the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    And a visitor asks search for its version all the time
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive pause ROLLOUT-OF-1.0.0 --reason lunch" beside it
    Then the story tells, in this order:
      """
      * the rollout is paused by …: lunch
      search/offline | holding
      """
    When the visitor has asked 1600 times more
    And I let the offline script of search 1.0.0 end
    And I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds these lines:
      """
      shop 1.0.0, running, begun <ago> by …, took <duration>
      1 search/offline 1.0.0 running 1 - 0 paused by …: lunch
      It waits for somebody to resume it, paused by …: lunch.
      <date> the rollout is paused by …: lunch
      """
    When I run "golive status"
    Then the answer holds "waits for somebody to resume it, paused by …: lunch"
    When I run "golive resume ROLLOUT-OF-1.0.0"
    Then it ends with code 0
    And the answer is:
      """
      rollout <id> goes on
      """
    When I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * the rollout goes on, resumed by …
      search/offline | going on
      ← deployment-search-1.0.0-offline-done (<duration>)
      ✓ shop 1.0.0 is live: completed in <duration>
      """

  Scenario: a step that has not begun
    Given the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive pause ROLLOUT-OF-1.0.0 search/online"
    Then it ends with code 0
    And the answer is:
      """
      step search/online of rollout <id> holds
      """
    When I let the offline script of search 1.0.0 end
    And I go back to where I had started "golive deploy shop"
    Then the story tells "✓ search 1.0.0 is online, confirmed by 1 instance (<duration>)"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
    When I run "golive status"
    Then the answer holds "waits for search/online: somebody to resume it, paused by …"
    When I run "golive resume ROLLOUT-OF-1.0.0 search/online --reason looked"
    Then it ends with code 0
    When I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
    When I run "golive pause ROLLOUT-OF-1.0.0"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> is completed, it cannot be paused
      golive: hint: golive show <id> tells how it stands
      """

  Scenario: a step that there is not
    Given the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive pause ROLLOUT-OF-1.0.0 search/ofline"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> has no step "search/ofline"
      golive: hint: its steps are search/offline, search/traffic, search/online
      """
    When I run "golive resume ROLLOUT-OF-1.0.0"
    Then it ends with code 1
    And I am told:
      """
      golive: error: rollout <id> is not paused
      golive: hint: golive show <id> tells how it stands
      """
    When I run "golive pause ROLLOUT-OF-1.0.0"
    And I run "golive resume ROLLOUT-OF-1.0.0 search/offline"
    Then it ends with code 1
    And I am told:
      """
      golive: error: step search/offline is not paused
      golive: hint: the whole rollout is paused; to let it go on: golive resume <id>
      """

  Scenario: for programs
    Given the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And I run "golive pause ROLLOUT-OF-1.0.0 search/offline --reason lunch -o json"
    Then it ends with code 0
    And the answer holds:
      """
      "paused": {
      "since": "<time>",
      "by": "…",
      "reason": "lunch"
      """
    And all times in the answer are in UTC
    When I run "golive abort ROLLOUT-OF-1.0.0 -o json"
    Then it ends with code 0
    And the answer is JSON with the fields that aborted.txt lists
