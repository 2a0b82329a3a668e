Feature: the snapshot that a rollout takes before it changes data

  As somebody who answers for the data of an environment
  I want each rollout that changes it to take it away first, or to run nothing
  So that there is always a way back to how it was right before.

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
        orders: {version: 1.0.0, instances: 0, state: {streams: [ORDERS]}}
      """
    And I have run "golive deploy shop"
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
          instances: 0
          migrations: [offline]
          state: {streams: [ORDERS]}
      """
    And somebody starts the setup service of orders 1.1.0 with the scripts offline

  Scenario: it is planned, taken, and told of
    Given the stream ORDERS holds 500 messages
    When I run "golive plan shop"
    Then the answer holds these lines:
      """
      1    │ shop/snapshot  take a snapshot of orders, … kB  -                -
      2    │ orders/offline run the offline script of 1.1.0   -              shop/snapshot
      """
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      → shop/snapshot is being taken
      ✓ shop/snapshot: <id>, … kB, of one moment (<duration>)
      → deployment-orders-1.1.0-offline-start
      ✓ shop 1.1.0 is live: completed in <duration>
      """
    When I run "golive snapshot list"
    Then the answer holds these lines:
      """
      <id>     shop 1.0.0   <ago> <duration> … kB yes        <ago>   …  before rollout <id> of 1.1.0
      """
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      snapshot: <id>, … kB, of one moment
      """
    When I run "golive report ROLLOUT"
    Then the answer holds "| Snapshot | `<id>` |"
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story does not tell "→ shop/snapshot is being taken"

  @long
  Scenario: without it nothing runs, until it can be taken
    When I run "golive deploy shop"
    Then it ends with code 1
    And the story tells, in this order:
      """
      ✗ shop/snapshot (<duration>): failed: the snapshot could not be taken, so nothing was run: service orders: stream ORDERS is not there (services.NAME.state of golive.yaml names the streams and buckets: correct it, or start the service that makes them)
      """
    And I am told this and more:
      """
      golive: error: rollout <id> of shop 1.1.0 has failed
      golive: hint: correct the cause, then: golive retry <id>
      golive: hint: no script has run: golive abort <id> ends it
      """
    And these scripts have run:
      | script | times |
    Given the stream ORDERS holds 5 messages
    When I run "golive retry ROLLOUT"
    Then it ends with code 0
    And these scripts have run:
      | script               | times |
      | orders 1.1.0 offline | 1     |
