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
