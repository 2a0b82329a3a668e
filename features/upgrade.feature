Feature: an upgrade with a maintenance page

  As somebody who upgrades a web shop at night
  I want all that there is to do in one list, which is done in that order
  So that visitors see a maintenance page and never half of the new version, and I can go back.

  Background:
    Given the programs of the shop were compiled before
    And I have brought version 1.0.0 of the shop live with "golive up --once --data data"

  @long
  Scenario: the whole list
    When I start "golive up --data data" for version 2.0.0 of the shop
    Then the story tells, in this order:
      """
      ? confirm: waits for somebody to approve: Shall the shop go to 2.0.0 now? …
        1. The support team knows about it
        2. Nobody is changing articles
      """
    And a visitor of the shop sees "shop 1.0.0", answered with 200
    Given visitors look at the shop all the time
    When I run "golive approve ROLLOUT-OF-2.0.0 confirm --yes" beside it
    Then the story tells, in this order:
      """
      ✓ confirm: approved by …
      ✓ catalog is under maintenance (<duration>)
      ✓ stop-front-ends is done on 1 host (<duration>)
      ✓ backup is done on 1 host (<duration>)
      ✓ configure is done on 1 host (<duration>)
      ✓ provision is done on 1 host (<duration>)
      ← deployment-catalog-2.0.0-offline-done (<duration>, 3 items…)
      ✓ restart-front-ends is done on 1 host (<duration>)
      ✓ smoke-catalog holds on 1 host (<duration>)
      ✓ smoke-front-ends holds on 1 host (<duration>)
      ✓ catalog 2.0.0 is online, confirmed by 1 instance (<duration>)
      ✓ front-door holds on 1 host (<duration>)
      ✓ shop 2.0.0 is live: completed in <duration>, downtime <duration>
      """
    And the answer holds "shop 2.0.0 is online"
    And the visitors of the shop have seen this, one after the other, and nothing else:
      | answer | to come back in | page                               |
      | 200    |                 | shop 1.0.0                         |
      | 503    | 30              | The shop is closed for maintenance |
      | 200    |                 | shop 2.0.0                         |
    And there is a copy of 3 articles as they were before
    When I press Ctrl-C
    Then it ends with code 0
    And no front end of the shop runs any more

  @long
  Scenario: the new front ends do not pass their smoke test
    Given the smoke test of the front ends fails
    When I start "golive up --data data" for version 2.0.0 of the shop
    And the story tells "? confirm: waits for somebody to approve: …"
    And I run "golive approve ROLLOUT-OF-2.0.0 confirm --yes" beside it
    Then the story tells, in this order:
      """
      ✓ restart-front-ends is done on 1 host (<duration>)
      ✗ smoke-front-ends does not hold (<duration>): …
      ✗ shop 2.0.0 is not live: the rollout has failed after <duration>
      golive: hint: …golive retry <id>, or golive up again
      golive: hint: …golive backward shop
      """
    And a visitor of the shop sees "The shop is closed for maintenance", answered with 503
    When I have run "golive backward shop --reason smoke"
    Then the story tells, in this order:
      """
      ✓ restart-front-ends is undone on 1 host (<duration>)
      ← deployment-catalog-2.0.0-offline-reverted (<duration>, 3 items)
      ✓ provision is undone on 1 host (<duration>)
      ✓ configure is undone on 1 host (<duration>)
      ✓ stop-front-ends is undone on 1 host (<duration>)
      ✓ shop 2.0.0 is undone, downtime <duration>: what was online before is online
      """
    And a visitor of the shop sees "shop 1.0.0", answered with 200
    And the configuration of the shop is that of 1.0.0
    When I go back to where the shop is up
    And I press Ctrl-C
    Then it ends with code 1
    And no front end of the shop runs any more
