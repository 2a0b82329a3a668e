Feature: moving production traffic

  As somebody whose callers are at work while a new version comes
  I want to see where the traffic goes, to keep it away while data is changed offline,
  and to let two versions serve side by side
  So that callers notice no more of a release than they have to, and I know how much.

  Background:
    Given an environment with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
    And somebody starts the programs of the app shop
    And I have run "golive deploy shop"

  Scenario: under maintenance while data is changed
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the app shop goes live with the strategy downtime
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    Then search is under maintenance, to be asked again after 3 seconds
    When I run "golive routes"
    Then the answer is:
      """
      SERVICE VERSION STATE                     CONFIRMED REVISION SINCE
      search  1.0.0   online, under maintenance 1 of 1    <number> <ago>
      """
    When I run "golive status"
    Then the answer holds these lines:
      """
      shop 2.0.0: rollout <id> running <ago>
      downtime: <duration> so far, under maintenance
      """
    When I let the offline script of search 2.0.0 end
    Then the rollout of shop 2.0.0 completes
    And search answers as version 2.0.0
    When I run "golive show ROLLOUT"
    Then the answer holds these lines:
      """
      1 search/maintenance 1.0.0 done 1 <duration> 0 -
      2 search/offline     2.0.0 done 1 <duration> 0 -
      3 search/traffic     2.0.0 done 1 <duration> 0 -
      downtime <duration>
      """
    And the answer holds "search under maintenance from … to …"
    And the answer holds "… closed search/maintenance"

  Scenario: the story of a release with downtime
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the app shop goes live with the strategy downtime
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story tells, in this order:
      """
      * rollout <id>: shop 2.0.0, 3 steps
      1. search/maintenance put 1.0.0 under maintenance
      2. search/offline run the offline script of 2.0.0
      3. search/traffic move traffic from 1.0.0 to 2.0.0
      ⇄ search/maintenance: putting search 1.0.0 under maintenance
      ✓ search is under maintenance (<duration>)
      → deployment-search-2.0.0-offline-start
      ← deployment-search-2.0.0-offline-done (<duration>)
      ⇄ search/traffic: bringing 2.0.0 online
      ✓ search 2.0.0 is online, confirmed by 1 instance (<duration>)
      ✓ shop 2.0.0 is live: completed in <duration>, downtime <duration>
      """

  Scenario: an offline script fails, and the service stays under maintenance until a retry
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the app shop goes live with the strategy downtime
    And the offline script of search 2.0.0 fails with "no room on the disk"
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 1
    And search is under maintenance, to be asked again after 3 seconds

  Scenario: nothing changes, so nobody is put under maintenance
    Given the app shop goes live with the strategy downtime
    When I run "golive deploy shop"
    Then it ends with code 0
    And the story does not tell "maintenance"
    And search answers as version 1.0.0

  Scenario: watching the traffic move
    Given version 2.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 2.0.0   | offline |
    And the offline script of search 2.0.0 takes until I say so
    And somebody starts the programs of the app shop
    When I start "golive deploy shop"
    And the offline script of search 2.0.0 has begun
    And I start "golive routes --watch"
    Then the answer holds "… search revision 1: 1.0.0 online"
    When I let the offline script of search 2.0.0 end
    Then the answer holds these lines:
      """
      … search revision 2: 1.0.0 online, 2.0.0 standby
      … search revision 3: 1.0.0 fenced, 2.0.0 standby
      … search revision 4: 1.0.0 fenced, 2.0.0 online
      … search revision 5: 1.0.0 draining, 2.0.0 online
      … search revision 6: 2.0.0 online
      … search revision 6: confirmed by 2 of 2 instances
      """
    When I press Ctrl-C
    Then it ends with code 0

  @long
  Scenario: an orchestrator dies in the middle of a cutover, and another one goes on
    Given version 2.0.0 of the app shop, with these services:
      | service | version |
      | search  | 2.0.0   |
    And somebody starts the programs of the app shop
    And a visitor asks search for its version all the time
    And the service of search 2.0.0 runs
    And the visitor gets answers from search 1.0.0
    When the service of search 2.0.0 hangs
    And I start "golive deploy shop"
    Then the story tells "⇄ search/traffic: bringing 2.0.0 online"
    When the first orchestrator is killed with SIGKILL
    And another orchestrator is started
    Then the visitor gets answers from search 1.0.0
    And the visitor had no answer from search 2.0.0 at all
    When the service of search 2.0.0 wakes up
    Then it ends with code 0
    When the visitor has asked 20 times more
    Then the last 10 answers that the visitor had are all from search 2.0.0

  Scenario: a watch has no end, so it is no YAML document
    When I run "golive routes --watch -o yaml"
    Then it ends with code 2
    And the answer is:
      """
      error:
        code: misused
        message: routes --watch has no end, so its answer is no yaml document
        hint: "use -o jsonl: one line for each change"
      """

  Scenario: the version before stays online beside the new one
    Given version 2.0.0 of the app shop, with these services:
      | service | version | keeps online |
      | search  | 2.0.0   | 1.0.0        |
    And somebody starts the programs of the app shop
    When I run "golive deploy shop"
    Then it ends with code 0
    And search answers as each of these versions: 1.0.0, 2.0.0
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   |         |
    When I run "golive deploy --allow-older shop"
    Then it ends with code 0
    And search answers as each of these versions: 1.0.0
