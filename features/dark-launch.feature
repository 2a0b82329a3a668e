Feature: a dark launch

  As somebody who adds a part that visitors must never see half ready
  I want to fill it in one release and to show it in the next
  So that nobody ever searches in only some of the todos.

  @long
  Scenario: three releases, one after the other
    Given the programs of the todo app were compiled before
    When I start "golive up --data data" for version 0.0.1 of the dark launch
    Then the answer holds "todo-app 0.0.1 is online"
    When visitors add these todos:
      | Buy milk         |
      | Water the plants |
    Then visitors see no search
    When I press Ctrl-C
    Then it ends with code 0
    When I start "golive up --data data" for version 0.0.2 of the dark launch
    Then the story tells, in this order:
      """
      ✓ web 0.0.2 is online, confirmed by 1 instance (<duration>)
      → todo-app-0.0.2-setting-up
      todo-app setup | info check search knows every todo: holds
      ← todo-app-0.0.2-set-up (<duration>, 2 items…)
      """
    And the answer holds "todo-app 0.0.2 is online"
    When visitors add these todos:
      | Plan the milkshake party |
    Then visitors see no search
    But todo-search itself finds for "milk":
      | Buy milk                 |
      | Plan the milkshake party |
    When I press Ctrl-C
    Then it ends with code 0
    When I start "golive up --data data" for version 0.0.3 of the dark launch
    Then the answer holds "todo-app 0.0.3 is online"
    And visitors see a search
    And visitors who search for "milk" find:
      | Buy milk                 |
      | Plan the milkshake party |
    When visitors add these todos:
      | Drink the milk |
    Then visitors who search for "milk" find:
      | Buy milk                 |
      | Drink the milk           |
      | Plan the milkshake party |

  @long
  Scenario: search is to be shown before it was filled
    Given the programs of the todo app were compiled before
    When I start "golive up --once --data data" for version 0.0.1 of the dark launch
    Then it ends with code 0
    When I start "golive up --once --data data" for version 0.0.3 of the dark launch
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: todo-app 0.0.3 requires that 0.0.2 has completed here, which it has not
      golive: hint: roll out todo-app 0.0.2 first
      """
    And there is no answer

  Scenario: a deployment system wants to know why it was refused
    Given an environment with one orchestrator
    When I start "golive deploy -o json" for version 0.0.3 of the dark launch
    Then it ends with code 1
    And the answer holds these lines:
      """
      "code": "requires",
      "message": "todo-app 0.0.3 requires that 0.0.2 has completed here, which it has not",
      "hint": "roll out todo-app 0.0.2 first"
      """

  @long
  Scenario: search is to be shown as soon as it is filled
    Given the programs of the todo app were compiled before
    When I start "golive up --once --seed 40000 --data data" for version 0.0.1 of the dark launch
    Then it ends with code 0
    When I start "golive up --data data" for version 0.0.2 of the dark launch
    Then the story tells "→ todo-app-0.0.2-setting-up"
    When I run "golive pause ROLLOUT-OF-0.0.2" beside it
    Then the story tells "* the rollout is paused by …"
    When somebody starts web 0.0.3 of the dark launch
    And visitors add these todos:
      | Taste unripe bananas |
    And I start "golive deploy" for version 0.0.3 of the dark launch
    Then it ends with code 1
    And I am told:
      """
      golive: error: todo-app 0.0.3 requires that 0.0.2 has completed here, which it has not
      golive: hint: rollout <id> of it is running, bring it to its end: golive watch <id> tells how far it is; golive deploy --queue waits for it
      """
    When I start "golive deploy --queue" for version 0.0.3 of the dark launch
    Then the story tells "* rollout <id>: todo-app 0.0.3 is queued by …: it begins when the one before it has ended"
    And visitors see no search
    When I run "golive resume ROLLOUT-OF-0.0.2" beside it
    Then it ends with code 0
    And the story tells "✓ todo-app 0.0.3 is live: completed in <duration>"
    And visitors see a search
    And visitors who search for "bananas" find:
      | Taste unripe bananas |
    And visitors who search for "4321" find:
      | Call milk (4321) |
