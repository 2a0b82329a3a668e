Feature: the promise

  As somebody whose users must never meet a version that is not ready for them
  I want that a new version answers nobody before all its offline scripts are done
  So that data it needs is there from its first answer on.

  Background:
    Given an environment with two orchestrators
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the offline script of search 1.0.0 takes until I say so
    And a visitor asks search for its version all the time
    And somebody starts the programs of the app shop

  Scenario: the first version answers only when its script is done
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the visitor has asked 200 times more
    Then the visitor had no answer from search 1.0.0 at all
    When I let the offline script of search 1.0.0 end
    Then it ends with code 0
    And the visitor gets answers from search 1.0.0
    And until the offline script of search 1.0.0 was done, the visitor had no answer from search 1.0.0

  Scenario: a new version takes over only when its script is done
    When I let the offline script of search 1.0.0 end
    And I run "golive deploy shop"
    Then it ends with code 0
    And the visitor gets answers from search 1.0.0
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And the visitor has asked 200 times more
    Then the visitor had no answer from search 2.0.0 at all
    And the visitor gets answers from search 1.0.0
    When the first orchestrator is killed with SIGKILL
    And the visitor has asked 200 times more
    Then the visitor had no answer from search 2.0.0 at all
    When I let the offline script of search 2.0.0 end
    Then it ends with code 0
    And the visitor gets answers from search 2.0.0
    And until the offline script of search 2.0.0 was done, the visitor had no answer from search 2.0.0
    When the visitor has asked 20 times more
    Then the last 10 answers that the visitor had are all from search 2.0.0

  Scenario: a version whose script has failed answers nobody
    Given the offline script of search 1.0.0 fails with "no room on the disk"
    When I run "golive deploy shop"
    Then it ends with code 1
    When the visitor has asked 200 times more
    Then the visitor had no answer from search 1.0.0 at all

  Scenario: a version waits for the offline scripts of all services, also of others
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
      | stock   | 3.0.0   | offline |
      | mail    | 4.0.0   | offline |
    And the offline script of mail 4.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    Then the story tells "← deployment-stock-3.0.0-offline-done (<duration>)"
    When the offline script of mail 4.0.0 has begun
    And the visitor has asked 200 times more
    Then the visitor had no answer from search 1.0.0 at all
    And stock does not answer
    When I let the offline script of mail 4.0.0 end
    Then it ends with code 0
    And stock answers as version 3.0.0
    And the visitor gets answers from search 1.0.0
    And until the offline script of mail 4.0.0 was done, the visitor had no answer from search 1.0.0
