Feature: setting up the todo-app v0.0.2

  As the author of the todo-app
  I want that its users are told of a new version
  So that nobody wonders why the app looks different.

  Scenario: users are told
    Given a mail service
    When the setup script runs
    Then the mail service contains these entries:
      | SUBJECT            |
      | todo-app has 0.0.2 |
