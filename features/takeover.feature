Feature: orchestrators come and go

  As somebody who runs several orchestrators side by side
  I want that any of them may die or be replaced while rollouts are under way
  So that I upgrade them, and lose machines, whenever it happens.

  Background:
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts         |
      | search  | 1.0.0   | offline, online |

  @long
  Scenario: one is killed while it waits for somebody who runs a script
    Given an environment with one orchestrator
    When I start "golive deploy shop"
    Then the story tells "… state=waiting step=search/offline for=<duration>: nobody listens to deployment-search-1.0.0-offline-start"
    When another orchestrator is started
    And another orchestrator is started
    And the first orchestrator is killed with SIGKILL
    And somebody starts the programs of the app shop
    Then the rollout of the app shop goes on within 5 seconds of that
    And it ends with code 0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |

  @long
  Scenario: one is killed while it moves traffic
    Given an environment with one orchestrator
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And version 2.0.0 of the app shop, with these services:
      | service | version |
      | search  | 2.0.0   |
    And somebody starts the programs of the app shop
    And the service of search 1.0.0 hangs
    When I start "golive deploy shop"
    Then the story tells "⇄ search/traffic: bringing 2.0.0 online"
    When another orchestrator is started
    And the first orchestrator is killed with SIGKILL
    And the service of search 1.0.0 wakes up
    Then the rollout of the app shop goes on within 5 seconds of that
    And it ends with code 0
    And search answers as each of these versions: 2.0.0

  Scenario: all of them are replaced, one after the other
    Given an environment with three orchestrators
    And the app shop has a setup script of its own
    And the offline script of search 1.0.0 takes until I say so
    And the online script of search 1.0.0 takes until I say so
    And the setup script of shop 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the first orchestrator gets SIGTERM
    Then the first orchestrator ends with code 0
    When another orchestrator is started
    And I let the offline script of search 1.0.0 end
    And the online script of search 1.0.0 has begun
    And the second orchestrator gets SIGTERM
    Then the second orchestrator ends with code 0
    When another orchestrator is started
    And I let the online script of search 1.0.0 end
    And the setup script of shop 1.0.0 has begun
    And the third orchestrator gets SIGTERM
    Then the third orchestrator ends with code 0
    When another orchestrator is started
    And I let the setup script of shop 1.0.0 end
    Then it ends with code 0
    And search answers as version 1.0.0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
      | shop 1.0.0 setup     | 1     |

  @long
  Scenario: the story of a rollout that has gone through two crashes
    Given an environment with one orchestrator
    And the offline script of search 1.0.0 takes until I say so
    And the online script of search 1.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 1.0.0 has begun
    And the first orchestrator is killed with SIGKILL
    And I let the offline script of search 1.0.0 end
    And another orchestrator is started
    And the online script of search 1.0.0 has begun
    And the second orchestrator is killed with SIGKILL
    And another orchestrator is started
    And I let the online script of search 1.0.0 end
    Then it ends with code 0
    When I run "golive show ROLLOUT-OF-1.0.0"
    Then the answer is:
      """
      rollout <id>
      shop 1.0.0, completed, begun <ago> by …, took <duration>
      # STEP           VERSION STATUS ATTEMPT TOOK       ITEMS REMARK
      1 search/offline 1.0.0   done   1       <duration> 0     -
      2 search/traffic 1.0.0   done   1       <duration> 0     -
      3 search/online  1.0.0   done   1       <duration> 0     -
      <date> created
      <date> step-done search/offline
      <date> opened search/traffic
      <date> step-done search/online, rollout completed
      """
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 1     |
      | search 1.0.0 online  | 1     |
