Feature: a deploy while another is under way

  As one of several people, or a pipeline, who roll out the same app
  I want to say whether my release waits for the one before it or takes its place
  So that no two rollouts of an app ever get into each other's way.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    And I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And version 1.0.1 of the app shop, with these services:
      | service | version |
      | search  | 1.0.1   |
    And somebody starts the programs of the app shop

  Scenario: it is refused by name
    When I run "golive deploy shop -o json"
    Then it ends with code 1
    And the answer holds:
      """
      "code": "rollout_open",
      "message": "rollout <id> of shop 1.0.0 is running: one app has one rollout at a time",
      """

  Scenario: it waits for the end of the one before
    When I start "golive deploy shop --queue"
    Then the story tells "* rollout <id>: shop 1.0.1 is queued by …: it begins when the one before it has ended"
    When I run "golive status"
    Then the answer holds these lines:
      """
      shop 1.0.0: rollout <id> running <ago>
      queued: rollout <id> of 1.0.1 by …, <ago>
      """
    When I run "golive history"
    Then the answer is:
      """
      ROLLOUT APP  VERSION STATUS  BEGUN TOOK       BY
      <id>    shop 1.0.1   queued  <ago> <duration> …
      <id>    shop 1.0.0   running <ago> <duration> …
      """
    When I let the offline script of search 1.0.0 end
    And I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    When I go back to where I had started "golive deploy shop --queue"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * rollout <id>: shop 1.0.1, 1 step
      ✓ shop 1.0.1 is live: completed in <duration>
      """
    And search answers as version 1.0.1

  Scenario: it is taken out of the queue
    When I start "golive deploy shop --queue"
    And I run "golive abort ROLLOUT-OF-1.0.1 --reason changed-my-mind"
    Then it ends with code 0
    And the answer is:
      """
      rollout <id> of shop 1.0.1 is aborted: it had not begun
      """
    And the one that was started before ends with code 1
    When I let the offline script of search 1.0.0 end
    And I go back to where I had started "golive deploy shop"
    Then it ends with code 0
    And search answers as version 1.0.0

  Scenario: two wait
    When I start "golive deploy shop --queue"
    And the story tells "* rollout <id>: shop 1.0.1 is queued …"
    Given version 1.0.2 of the app shop, with these services:
      | service | version |
      | search  | 1.0.2   |
    And somebody starts the programs of the app shop
    When I start "golive deploy shop --queue --reason after-that"
    And the story tells "* rollout <id>: shop 1.0.2 is queued …"
    And I let the offline script of search 1.0.0 end
    Then it ends with code 0
    And the one that was started before ends with code 0
    And search answers as version 1.0.2

  Scenario: it takes the place of the one before
    When I run "golive deploy shop --replace --reason urgent"
    Then it ends with code 0
    And the one that was started before ends with code 1
    And the offline script of search 1.0.0 is told to stop
    And search answers as version 1.0.1
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer holds these lines:
      """
      shop 1.0.0, aborted, begun <ago> by …, took <duration>
      <date> aborted by …: rollout <id> of 1.0.1 takes its place
      """

  Scenario: it cannot both wait and take the place
    When I run "golive deploy shop --replace --queue"
    Then it ends with code 2
    And I am told:
      """
      golive: error: --queue and --replace exclude each other
      golive: hint: see golive deploy --help
      """
