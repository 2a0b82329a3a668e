Feature: the walk through the example

  As somebody who has just heard of golive
  I want the todo app to do what its README promises
  So that I see in two minutes what a setup script is good for.

  @long
  Scenario: the second version finds what the first one was told
    Given the programs of the todo app were compiled before
    When I start "golive up --data data" for version 0.0.1 of the todo app
    Then the answer holds "todo-app 0.0.1 is online"
    When I add these todos:
      | Buy milk                  |
      | Plan the milkshake party  |
      | Water the plants          |
    And I press Ctrl-C
    Then it ends with code 0
    When I start "golive up --data data" for version 0.0.2 of the todo app
    Then the story tells "todo-search setup | info check search knows every todo: holds"
    And the story tells "← deployment-todo-search-0.0.1-online-done (<duration>, 3 items…)"
    And the answer holds "todo-app 0.0.2 is online"
    And searching for "milk" finds:
      | Buy milk                 |
      | Plan the milkshake party |
    When I press Ctrl-C
    Then it ends with code 0
    When I start "golive up --once --data data" for version 0.0.2 of the todo app
    Then it ends with code 0
    And the story tells "= every script has run in this environment: none is run again"

  Scenario: all of it at once, from nothing
    Given the programs of the todo app were compiled before
    When I start "golive up --once --data data" for version 0.0.2 of the todo app
    Then it ends with code 0
    And the story tells "✓ todo-app 0.0.2 is live: completed in <duration>"
    And the answer holds "todo-app 0.0.2 is online"

  @long
  Scenario: a list of thousands of todos
    Given the programs of the todo app were compiled before
    When I start "golive up --seed 5000 --data data" for version 0.0.2 of the todo app
    Then the story tells "✓ seeded: GOLIVE_SEED=5000"
    And the story tells "todo-search setup | info check search knows every todo: holds"
    And the answer holds "todo-app 0.0.2 is online"
    And searching for "4321" finds:
      | Call milk (4321) |

  @long
  Scenario: killed, and started again at once
    Given the programs of the todo app were compiled before
    When I start "golive up --seed 5000 --data data" for version 0.0.2 of the todo app
    Then the story tells "todo-app seed | 5000 todos, 5000 of them new, in <duration>"
    And the answer holds "todo-app 0.0.2 is online"
    When golive gets SIGKILL
    Then it is gone
    When I start "golive up --seed 5000 --data data" for version 0.0.2 of the todo app
    Then the story tells "todo-app seed | 5000 todos, 0 of them new, in <duration>"
    And the answer holds "todo-app 0.0.2 is online"

  @long
  Scenario: what callers see of a release with downtime
    Given the programs of the todo app were compiled before
    When I start "golive up --data data" for version 0.0.1 of the todo app
    Then the answer holds "todo-app 0.0.1 is online"
    Given callers send todos.list all the time
    And version 0.0.3 of the app todo-app, with these services:
      | service | version | scripts | depends on | its program       |
      | todos   | 0.0.1   |         |            | runs already      |
      | web     | 0.0.2   | offline | todos      | the example's web |
    And the app todo-app goes live with the strategy downtime
    And the offline script of web 0.0.2 takes until I say so
    When the callers have called for 2 seconds more
    And I start "golive --nats BUS up todo-app"
    And the offline script of web 0.0.2 has begun
    And the callers have called for 3 seconds more
    And I let the offline script of web 0.0.2 end
    Then the rollout of todo-app 0.0.3 completes
    When the callers have called for 2 seconds more
    Then what the callers saw, second by second, agrees with the downtime that golive reports
