Feature: deploying the todo-search service v0.0.1

  As a developer adding the search service
  I want that it gets prepopulated with all existing todo items
  So that my users can search for all their existing todos.

  Scenario: some todos exist
    Given a todos service with the entries:
      | TITLE |
      | one   |
      | two   |
    And a todos-search service
    When the deployment script runs
    Then the todos-search service knows about these documents:
      | TITLE |
      | one   |
      | two   |
    And a todos service still contains these entries:
      | TITLE |
      | one   |
      | two   |
