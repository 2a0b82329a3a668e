Feature: data and traffic as they were before a rollout

  As somebody whose new version has spoilt data that no script can mend
  I want data and traffic back as they were right before it, in seconds
  So that the old version answers with the old data, and nobody sees anything between.

  Background:
    Given an environment with two orchestrators
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | orders  | 1.0.0   |         |
    And the manifest of the app shop is:
      """
      app: shop
      version: 1.0.0
      services:
        orders: {version: 1.0.0, state: {streams: [ORDERS]}}
      """
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And the stream ORDERS holds 500 messages
    And version 1.1.0 of the app shop, with these services:
      | service | version | scripts |
      | orders  | 1.1.0   | offline |
    And the manifest of the app shop is:
      """
      app: shop
      version: 1.1.0
      services:
        orders:
          version: 1.1.0
          migrations: [offline]
          state: {streams: [ORDERS]}
      """
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"
    And 7 more messages are stored in the stream ORDERS

  Scenario: it is planned, done, told of and undone
    When I run "golive restore shop --plan"
    Then it ends with code 3
    And the answer holds these lines:
      """
      restore of shop: from 1.1.0 to 1.0.0, as right before rollout <id>, <ago>
      puts back: 500 messages, … kB
      1 shop/check-snapshot read back the snapshot that is put back     …
      2 orders/maintenance  put 1.1.0 under maintenance                 …
      3 shop/snapshot       take a snapshot of the data                 …
      4 orders/put          put … kB of data back                       …
      5 orders/traffic      move traffic from 1.1.0 to 1.0.0            …
      counts no more: orders 1.1.0 offline, which has run since
      """
    When I run "golive restore shop"
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: restore asks before it changes anything, and nobody is here to answer
      """
    When a visitor asks orders for its version all the time
    And I run "golive restore shop --yes --reason spoilt"
    Then it ends with code 0
    And the story tells, in this order:
      """
      → shop/check-snapshot is being read back
      ✓ orders is under maintenance (<duration>)
      → shop/snapshot is being taken
      ✓ orders/put: 500 messages, as in the snapshot (<duration>)
      ✓ orders 1.0.0 is online, confirmed by 1 instance (<duration>)
      ✓ shop 1.0.0 is live, with its data as right before rollout <id>: completed in <duration>, downtime <duration>
      """
    And orders answers as version 1.0.0
    And there are 500 messages in the stream ORDERS
    When I run "golive deploy shop"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | orders 1.1.0 offline | 2     |

  @long
  Scenario: a person is asked for the version that comes back
    When I start "golive restore shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      …Type the version that comes back, 1.0.0, to go on:…
      """
    When I type "1.1.0"
    Then it ends with code 1
    And orders answers as version 1.1.0
    When I start "golive restore shop" on a terminal of 100 columns
    Then the terminal shows, in this order:
      """
      …Type the version that comes back, 1.0.0, to go on:…
      """
    When I type "1.0.0"
    Then it ends with code 0
    And orders answers as version 1.0.0
    And there are 500 messages in the stream ORDERS
    When I run "golive history shop"
    Then the answer holds "<id>  shop  1.0.0    completed, restore  …"
    When I run "golive restore shop --yes"
    Then it ends with code 0
    And orders answers as version 1.1.0
    And there are 507 messages in the stream ORDERS

  @long
  Scenario: one of two orchestrators is killed while it puts data back
    When I start "golive restore shop --yes"
    And the second orchestrator is killed with SIGKILL
    Then it ends with code 0
    And orders answers as version 1.0.0
    And there are 500 messages in the stream ORDERS

  @long
  Scenario: where a script has no revert, the way back names it
    When I run "golive backward shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: nobody listens to the revert of orders/offline of 1.1.0: nothing was changed
      golive: hint: start the setup service of orders 1.1.0, with its revert scripts, or leave what they did as it is with --skip-missing; to put data and traffic back as they were before: golive restore shop <id>
      """

  @long
  Scenario: its report tells what was put back
    Given I have run "golive restore shop --yes --reason spoilt"
    When I run "golive abort ROLLOUT"
    Then it ends with code 1
    And I am told this and more:
      """
      golive: error: restore <id> is completed: it cannot be aborted any more
      golive: hint: golive restore shop <id> puts back what it has found
      """
    When I run "golive report ROLLOUT"
    Then the answer holds "# Restore of `shop` `1.0.0`: completed"
    And the answer holds "| Why | `spoilt` |"
    And the answer holds "| Messages put back | 500 |"
    And the answer holds "| Version before | `1.1.0` |"
