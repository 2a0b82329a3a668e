Feature: what a specification of scripts can say

  As an author of a setup service
  I want to say what my scripts do, phase by phase, also when they fail
  So that I know what they will do to production data.

  Scenario: no todos exist
    Given a todos service
    And a todos-search service
    When the online migration runs
    Then the todos-search service knows about no documents
    And the todos service still contains no entries

  Scenario: one phase after the other
    Given a todos service with the entries:
      | TITLE | ID |
      | one   | 1  |
      | two   | 2  |
    And a todos-search service
    When the before migration runs
    Then the todos-search service contains no entries
    When the offline migration runs
    Then the todos-search service contains these entries:
      | KIND  |
      | index |
    When the online migration runs
    Then the todos-search service knows about these documents:
      | ID | KIND  | TITLE |
      |    | index |       |
      | 2  |       | two   |
      | 1  |       | one   |

  Scenario: the script runs twice
    Given a todos service with the entries:
      | TITLE |
      | one   |
    And a todos-search service
    When the deployment script runs
    And the deployment script runs again
    Then the todos-search service contains these entries:
      | KIND  | TITLE |
      | index |       |
      |       | one   |

  Scenario: the script is undone
    Given a todos service with the entries:
      | TITLE |
      | one   |
    And a todos-search service
    When the deployment script runs
    And the deployment script is reverted
    Then the todos-search service contains no entries
    And the todos service still contains these entries:
      | TITLE |
      | one   |

  Scenario: the service it reads from is not there
    Given a todos-search service
    When the deployment script runs
    Then the todos-search service contains these entries:
      | KIND  |
      | index |
    And the deployment script fails with "request todos.list: nobody listens"
    When the deployment script is reverted
    Then the todos-search service contains no entries

  Scenario: one of its phases fails
    Given a todos-search service
    When the online migration runs
    Then the online migration fails with "nobody listens"
