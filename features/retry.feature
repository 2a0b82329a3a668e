Feature: trying again by itself

  As somebody whose scripts meet networks, disks and machines
  I want them tried again where that may help, and only there
  So that nobody is woken for what mends itself.

  Scenario: a script fails twice
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | retries | backoff |
      | search  | 1.0.0   | offline | 2       | 200ms   |
    And the offline script of search 1.0.0 fails twice with "the network is away"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      → deployment-search-1.0.0-offline-start
      ✗ deployment-search-1.0.0-offline-failed (<duration>): failed: the network is away: attempt 2 in 200ms
      → deployment-search-1.0.0-offline-start (attempt 2)
      ✗ deployment-search-1.0.0-offline-failed (<duration>): failed: the network is away: attempt 3 in 400ms
      → deployment-search-1.0.0-offline-start (attempt 3)
      ← deployment-search-1.0.0-offline-done (<duration>)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 3     |

  Scenario: a script fails more often than it may
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | retries | backoff |
      | search  | 1.0.0   | offline | 1       | 100ms   |
    And the offline script of search 1.0.0 fails with "the network is away"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |

  Scenario: a script says that trying again is of no use
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | retries | backoff |
      | search  | 1.0.0   | offline | 3       | 100ms   |
    And the offline script of search 1.0.0 fails for good with "the data is broken"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells "golive: error: step search/offline: failed: the data is broken"
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |

  Scenario: waiting for the next attempt
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts | retries | backoff |
      | search  | 1.0.0   | offline | 3       | 1m      |
    And the offline script of search 1.0.0 fails the first time with "the network is away"
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    Then the story tells "✗ deployment-search-1.0.0-offline-failed (<duration>): failed: the network is away: attempt 2 in 1m0s"
    When I run "golive status"
    Then the answer holds "waits for search/offline: attempt 2 at <time>"
    When I run "golive abort ROLLOUT-OF-1.0.0"
    Then it ends with code 0
    And the story tells "✗ shop 1.0.0 is aborted: what was online before is online"
    When I go back to where I had started "golive deploy shop"
    Then it ends with code 1

  @long
  Scenario: the setup service is killed in the middle of its script, and another instance runs
    Given an environment with one orchestrator, each of them "golive serve --heartbeat 1s"
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the offline script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    And somebody starts the setup service of search 1.0.0 with the scripts offline
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the setup service that runs the offline script of search 1.0.0 is killed with SIGKILL
    And the offline script of search 1.0.0 has begun again
    And I let the offline script of search 1.0.0 end
    Then it ends with code 0
    And the story tells, in this order:
      """
      ✗ deployment-search-1.0.0-offline-failed: lost: …: attempt 2 at once
      → deployment-search-1.0.0-offline-start (attempt 2)
      ← deployment-search-1.0.0-offline-done (<duration>)
      ✓ shop 1.0.0 is live: completed in <duration>
      """
    And each run of the offline script of search 1.0.0 was in another instance
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |
