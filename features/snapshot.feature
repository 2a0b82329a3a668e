Feature: snapshots of the data of an app

  As somebody who answers for the data of an environment
  I want to have it taken away, whole and checked, while the services go on
  So that I can go back to it, and try the next release on it.

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

  Scenario: a snapshot is taken, looked at, checked and dropped
    Given the stream ORDERS holds 500 messages
    When I run "golive deploy shop"
    Then it ends with code 0
    When I run "golive snapshot list"
    Then the answer is:
      """
      There is no snapshot here yet.
      """
    When I run "golive snapshot take shop --reason inventory"
    Then it ends with code 0
    And the answer is:
      """
      snapshot <id> of shop 1.0.0: 500 messages, …
      of one moment
      """
    When I run "golive snapshot list"
    Then the answer is:
      """
      SNAPSHOT APP  VERSION TAKEN TOOK       SIZE     ONE MOMENT CHECKED BY REASON
      <id>     shop 1.0.0   <ago> <duration> … kB yes        <ago>   …  inventory
      """
    When I run "golive snapshot show 0"
    Then the answer holds these lines:
      """
      orders  1.0.0   stream ORDERS 500      …
      """
    When I run "golive snapshot check 0"
    Then it ends with code 0
    And the answer holds "snapshot <id> of shop 1.0.0 is whole: 500 messages, …"
    When the second orchestrator is killed with SIGKILL
    And I run "golive snapshot drop 0"
    Then it ends with code 0
    When I run "golive snapshot show 0"
    Then it ends with code 1
    And I am told:
      """
      golive: error: there is no snapshot 0
      golive: hint: golive snapshot list tells which there are
      """

  @long
  Scenario: what cannot be taken is told before anything is written
    When I run "golive snapshot take shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: no rollout of an app "shop" has completed here: there is nothing to take
      golive: hint: golive status lists the apps
      """
    When I run "golive deploy shop"
    And I run "golive snapshot take shop"
    Then it ends with code 1
    And I am told:
      """
      golive: error: service orders: stream ORDERS is not there
      golive: hint: services.NAME.state of golive.yaml names the streams and buckets: correct it, or start the service that makes them
      """
    When I run "golive snapshot list"
    Then the answer is:
      """
      There is no snapshot here yet.
      """
